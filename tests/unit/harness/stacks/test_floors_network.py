"""Floors of network mode: each times real transfers, and its child is gone afterwards."""

from __future__ import annotations

from typing import cast

import aiohttp
import pytest

from fedbench.loop import LoopName, run
from harness.stacks import floors_network
from harness.stacks.floors import NETWORK, FloorStack, expected_s


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less of everything than what is measured."""
    monkeypatch.setattr(floors_network, "BROADCAST_CLIENTS", 20)


@pytest.mark.parametrize("operation", NETWORK)
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_every_transfer_is_timed_by_itself(operation: str, loop: LoopName) -> None:
    times_ns = run(FloorStack().floor(operation, 5), loop)
    assert len(times_ns) == 5
    assert all(10_000 < time_ns < 5e9 for time_ns in times_ns)


async def test_one_audience_hears_all_broadcasts() -> None:
    async with floors_network.ws_broadcasts(150, 30_000) as broadcasts:
        assert [len(await broadcasts(count)) for count in (2, 0, 1)] == [2, 0, 1]


async def test_one_echo_serves_all_trips() -> None:
    async with floors_network.echo_trips() as trips:
        assert [len(await trips(count)) for count in (2, 0, 3)] == [2, 0, 3]


async def test_none_asked_is_none_timed() -> None:
    for operation in NETWORK:
        assert await FloorStack().floor(operation, 0) == []


async def test_clients_that_do_not_come_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(floors_network, "START_TIMEOUT_S", 0.01)
    monkeypatch.setattr(floors_network, "_audience_main", print)
    with pytest.raises(TimeoutError):
        await floors_network.ws_broadcast(1)


async def test_an_echo_that_is_none_is_found() -> None:
    class Link:
        async def send_bytes(self, data: bytes) -> None:
            pass

        async def receive_bytes(self) -> bytes:
            return b"else"

    with pytest.raises(RuntimeError, match="the echo brought 4 bytes that are not those sent"):
        await floors_network._trip(cast("aiohttp.ClientWebSocketResponse", Link()))


def test_what_takes_long_is_expected_to() -> None:
    assert expected_s("hop", 1000) == pytest.approx(0.01)
    assert expected_s("ws_echo", 1000) == pytest.approx(0.75)
    assert expected_s("ws_broadcast", 10) > 2
