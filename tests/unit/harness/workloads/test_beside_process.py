"""Floors with another process are told apart from those of this one, and from what is none."""

from __future__ import annotations

import subprocess
import sys

import pytest

from harness.workloads.beside_process import open_transfers, open_trips, transfers_s, trips_s


@pytest.mark.parametrize("name", ["queue", "ws_echo"])
async def test_trips_are_timed_one_by_one(name: str) -> None:
    async with open_trips(name) as trips:
        assert len(await trips(3)) == 3


@pytest.mark.parametrize("name", ["memcpy", "ws_broadcast", "tcp"])
@pytest.mark.parametrize("up", [False, True])
async def test_transfers_are_timed_one_by_one(name: str, up: bool) -> None:
    async with open_transfers(name, 4096, 1, up=up) as transfers:
        times_ns = await transfers(3)
    assert len(times_ns) == 3
    assert min(times_ns) > 0


async def test_no_floor_takes_no_time() -> None:
    async with open_trips("") as trips, open_transfers("", 4096, 1) as transfers:
        assert [await trips(3), await transfers(3)] == [[], []]
    assert (trips_s("", 100), transfers_s("", 1 << 20, 4, 100)) == (0.0, 0.0)


def test_what_is_no_floor_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="unknown floor 'pipe': use one of queue, ws_echo"):
        open_trips("pipe")
    with pytest.raises(
        ValueError, match="unknown floor 'queue': use one of memcpy, two_threads, pace, ws_broad"
    ):
        open_transfers("queue", 4096, 1)
    with pytest.raises(ValueError, match="the floor 'tcp' is one of a single client, not of 3"):
        open_transfers("tcp", 4096, 3)


def test_a_floor_takes_longer_the_more_it_does() -> None:
    assert trips_s("ws_echo", 20_000) > trips_s("ws_echo", 1000)
    for name, clients in (("ws_broadcast", 1000), ("tcp", 1), ("memcpy", 1)):
        assert transfers_s(name, 100_000_000, clients, 9) > 2 * transfers_s(name, 10_000, clients, 3)


def test_aiohttp_is_imported_for_web_sockets_only() -> None:
    code = (
        "import sys; from harness.workloads import beside_process as b;"
        "b.open_trips('queue'); b.open_transfers('tcp', 8, 1); print('aiohttp' in sys.modules)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert printed == b"False\n"
