"""The gRPC stack: real calls to real processes where grpcio is, a reason where it is not."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import cast

import pytest

from fedbench.errors import ConnectionBroken, DeadlineExceeded, Overloaded, RemoteError
from fedbench.loop import LoopName, run
from harness.stacks import grpc_aio
from harness.stacks.base import FederationSpec, Unsupported
from harness.stacks.floors import expected_s
from harness.stacks.grpc_aio import GrpcAioStack
from harness.stats.histogram import Histogram
from harness.workloads.base import Session
from harness.workloads.registry import create_workload

installed = pytest.mark.skipif(find_spec("grpc") is None, reason="grpcio is not installed")


# With the last channel gRPC joins its own thread in the loop, and leaves a socket to the collector.
pytestmark = [pytest.mark.usefixtures("may_block"), pytest.mark.filterwarnings("ignore::ResourceWarning")]


@pytest.fixture(autouse=True, scope="module")
def core() -> None:
    """Have gRPC open what it keeps for the life of the process before descriptors are counted."""
    if find_spec("grpc") is not None:
        asyncio.run(GrpcAioStack().floor("unary", 1))


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less in bulk than what is measured, and still more than gRPC's default limit of 4 MB."""
    monkeypatch.setattr(grpc_aio, "BULK_BYTES", 5_000_001)


@installed
@pytest.mark.parametrize("operation", ["unary", "bulk_down", "bulk_up"])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_every_call_is_timed_by_itself(operation: str, loop: LoopName) -> None:
    times_ns = run(GrpcAioStack().floor(operation, 5), loop)
    assert len(times_ns) == 5
    assert all(10_000 < time_ns < 5e9 for time_ns in times_ns)


@installed
async def test_bulks_are_few_because_they_are_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_aio, "BULK_BYTES", 1000)
    assert len(await GrpcAioStack().floor("bulk_up", 500)) == grpc_aio.BULK_SAMPLES


@installed
async def test_clients_do_not_share_processes() -> None:
    with pytest.raises(Unsupported, match="each client of grpc_aio has a process of its own"):
        await GrpcAioStack().start(FederationSpec(4, "no learner", per_process=2))


@installed
async def test_every_client_is_pinged_in_a_process_of_its_own() -> None:
    stack = GrpcAioStack()
    await stack.start(FederationSpec(2, "no learner"))
    try:
        assert [await stack.ping(n, b"x" * n, deadline_s=5.0) for n in range(2)] == [b"", b"x"]
        with pytest.raises(Unsupported, match="grpc_aio carries bytes only, not dict"):
            await stack.ping(0, {}, deadline_s=5.0)
    finally:
        await stack.stop()
        await stack.stop()
    with pytest.raises(Unsupported, match="grpc_aio is not running"):
        await stack.ping(0, b"", deadline_s=5.0)


@installed
async def test_a_call_without_an_answer_in_time_ends_as_in_any_other_stack() -> None:
    stack = GrpcAioStack()
    await stack.start(FederationSpec(1, "no learner"))
    [server] = multiprocessing.active_children()
    assert server.pid is not None
    try:
        await stack.ping(0, b"", deadline_s=5.0)
        os.kill(server.pid, signal.SIGSTOP)
        with pytest.raises(DeadlineExceeded, match="grpc_aio 0 did not answer in time"):
            await stack.ping(0, b"", deadline_s=0.05)
    finally:
        os.kill(server.pid, signal.SIGCONT)
        await stack.stop()


@installed
@pytest.mark.parametrize(
    ("status", "error"),
    [
        ("DEADLINE_EXCEEDED", DeadlineExceeded),
        ("RESOURCE_EXHAUSTED", Overloaded),
        ("UNAVAILABLE", ConnectionBroken),
        ("INTERNAL", RemoteError),
    ],
)
async def test_a_status_of_grpc_is_one_of_our_errors(status: str, error: type[Exception]) -> None:
    import grpc
    from grpc import aio

    cause = aio.AioRpcError(grpc.StatusCode[status], aio.Metadata(), aio.Metadata(), "full of bytes")

    async def call(request: bytes, *, timeout: float) -> bytes:
        raise cause

    stack = GrpcAioStack()
    stack._calls.append(call)
    with pytest.raises(error) as caught:
        await stack.ping(0, b"", deadline_s=1.0)
    assert caught.value.__cause__ is cause


@installed
async def test_what_is_no_status_of_grpc_stays_what_it_is() -> None:
    async def call(request: bytes, *, timeout: float) -> bytes:
        raise ValueError("no")

    stack = GrpcAioStack()
    stack._calls.append(call)
    with pytest.raises(ValueError, match="no"):
        await stack.ping(0, b"", deadline_s=1.0)


@installed
async def test_the_workload_of_calls_drives_it() -> None:
    class Unmeasured:
        @asynccontextmanager
        async def measured(self, *, memory: bool = False) -> AsyncIterator[None]:
            yield

    session = cast("Session", Unmeasured())
    outcome = await create_workload("rpc_ping", {"clients": 1, "operations": 20}).run(GrpcAioStack(), session)
    assert (outcome.operations, outcome.wrong) == (20, [])
    assert Histogram.from_dict(outcome.histograms["latency"]).percentile(0.5) > 10_000


@installed
async def test_a_client_that_cannot_be_started_takes_the_others_down(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = GrpcAioStack()
    original, made = grpc_aio._channel, []

    def channel():
        made.append(1)
        if len(made) == 2:
            raise OSError("no more processes")
        return original()

    monkeypatch.setattr(grpc_aio, "_channel", channel)
    with pytest.raises(OSError, match="no more processes"):
        await stack.start(FederationSpec(2, "no learner"))
    assert not stack._calls


@installed
async def test_an_answer_of_another_size_is_found() -> None:
    async def call(request: bytes) -> bytes:
        return b"short"

    with pytest.raises(RuntimeError, match="a call brought 5 bytes instead of 64"):
        await grpc_aio._timed(call, b"", 64)


async def test_an_unknown_operation_names_those_there_are() -> None:
    with pytest.raises(Unsupported, match="no floor 'hop': use one of unary, bulk_down, bulk_up"):
        await GrpcAioStack().floor("hop", 1)


async def test_without_grpcio_it_is_unsupported_for_that_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_aio, "find_spec", lambda name: None)
    reason = r"grpcio is not installed: install fedbench\[dev\]"
    with pytest.raises(Unsupported, match=reason):
        await GrpcAioStack().floor("unary", 1)
    with pytest.raises(Unsupported, match=reason):
        await GrpcAioStack().start(FederationSpec(1, "no learner"))


async def test_it_has_no_federation() -> None:
    with pytest.raises(Unsupported, match="grpc_aio has bare calls, but no federation"):
        await GrpcAioStack().ask(0, "x")


def test_a_bulk_is_expected_to_take_longer_than_a_call() -> None:
    assert expected_s("unary", 20) < expected_s("bulk_up", 20) == expected_s("bulk_down", 1000)
