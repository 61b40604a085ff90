"""Floors of bare TCP: each times real transfers, and its child is gone afterwards."""

from __future__ import annotations

import os
import socket
import threading

import pytest

from fedbench.loop import LoopName, run
from harness.probes.tree import process_tree
from harness.stacks import floors_tcp
from harness.stacks.floors import FloorStack, expected_s

OPERATIONS = ("tcp_down", "tcp_up")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less than what is measured."""
    monkeypatch.setattr(floors_tcp, "BULK_BYTES", 3_000_001)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_every_transfer_is_timed_by_itself(operation: str, loop: LoopName) -> None:
    times_ns = run(FloorStack().floor(operation, 5), loop)
    assert len(times_ns) == 5
    assert all(10_000 < time_ns < 5e9 for time_ns in times_ns)


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_none_asked_is_none_timed(operation: str) -> None:
    assert await FloorStack().floor(operation, 0) == []


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_bulks_are_few_because_they_are_long(operation: str) -> None:
    assert len(await FloorStack().floor(operation, 500)) == floors_tcp.BULK_SAMPLES


@pytest.mark.parametrize("up", [False, True])
async def test_one_child_serves_all_transfers(up: bool) -> None:
    async with floors_tcp.tcp_transfers(100_001, up=up) as transfers:
        children = process_tree(os.getpid())
        assert [len(await transfers(count)) for count in (0, 2, 1)] == [0, 2, 1]
        assert process_tree(os.getpid()) == children
    assert len(process_tree(os.getpid())) == len(children) - 1


def test_a_peer_that_is_gone_is_told() -> None:
    near, far = socket.socketpair()
    far.close()
    with near, pytest.raises((RuntimeError, BrokenPipeError)):
        floors_tcp._transfer(near, memoryview(bytearray(10)), up=True)


def test_a_transfer_ends_with_its_last_byte() -> None:
    near, far = socket.socketpair()
    sent = threading.Thread(target=lambda: [far.sendall(bytes([n]) * 1000) for n in range(3)])
    with near, far:
        sent.start()
        into = bytearray(2500)
        assert floors_tcp._fill(near, memoryview(into))
        sent.join()
        assert into == b"\0" * 1000 + b"\1" * 1000 + b"\2" * 500
        far.close()
        assert not floors_tcp._fill(near, memoryview(bytearray(501)))


def test_what_takes_long_is_expected_to() -> None:
    assert expected_s("tcp_up", 10) == pytest.approx(1.1)
    assert expected_s("tcp_up", 1000) == expected_s("tcp_up", floors_tcp.BULK_SAMPLES)
