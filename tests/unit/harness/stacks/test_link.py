"""A link of the harness: what it does to bytes, and that it can be cut."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbench.errors import ConfigError
from harness.stacks.base import FederationSpec, Unsupported
from harness.stacks.children import HOST
from harness.stacks.federation import FederationStack
from harness.stacks.link import LEAST_TIMEOUT_S, SEGMENT_BYTES, Line, Link, LinkProcess

ECHO = "harness.workloads.learners:EchoLearner"


@given(
    st.floats(0, 0.1),
    st.floats(0, 0.5),
    st.lists(st.tuples(st.floats(0, 0.1), st.integers(1, 100_000)), max_size=20),
)
def test_bytes_come_out_in_order_and_never_before_the_delay(
    delay_s: float, loss: float, bursts: list[tuple[float, int]]
) -> None:
    line, now_s, last_s = Line(Link(delay_s, loss), random.Random(1)), 0.0, 0.0
    for gap_s, size in bursts:
        now_s += gap_s
        due_s = line.due_s(now_s, size)
        assert due_s >= max(now_s + delay_s, last_s)
        assert due_s <= max(now_s + 3 * delay_s + LEAST_TIMEOUT_S, last_s) + 1e-12
        last_s = due_s


def test_without_loss_only_the_delay_counts() -> None:
    line = Line(Link(0.02), random.Random(1))
    assert [line.due_s(now_s, 1_000_000) for now_s in (0.0, 1.0)] == [0.02, 1.02]


def test_the_share_of_lone_segments_that_wait_for_a_timeout_is_the_loss() -> None:
    line, late = Line(Link(0.01, 0.05), random.Random(3)), 0
    for number in range(4000):
        due_s = line.due_s(float(number), 64)
        assert due_s - number == pytest.approx(0.01) or due_s - number == pytest.approx(
            0.03 + LEAST_TIMEOUT_S
        )
        late += due_s - number > 0.1
    assert 150 < late < 250


class Draws(random.Random):
    """A generator whose numbers are given."""

    def __init__(self, *numbers: float) -> None:
        super().__init__()
        self._numbers = iter(numbers)

    def random(self) -> float:
        return next(self._numbers)


@pytest.mark.parametrize(
    ("lost", "stall_s"), [(0, 0.04), (1, 0.04), (2, 0.04 + LEAST_TIMEOUT_S), (4, 0.04 + LEAST_TIMEOUT_S)]
)
def test_three_segments_behind_a_lost_one_have_it_repeated_at_once(lost: int, stall_s: float) -> None:
    draws = [0.0 if segment == lost else 0.9 for segment in range(5)]
    line = Line(Link(0.02, 0.01), Draws(*draws))
    assert line.due_s(0.0, 5 * SEGMENT_BYTES) == pytest.approx(0.02 + stall_s)


@pytest.mark.parametrize("wrong", [{"delay_s": -1.0}, {"loss": 1.0}, {"loss": -0.1}])
def test_what_is_no_link_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} is "):
        Link(**wrong)


@asynccontextmanager
async def echo() -> AsyncIterator[int]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        writer.transport.abort()

    server = await asyncio.start_server(answer, HOST, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.mark.slow
async def test_bytes_pass_whole_and_late() -> None:
    link = LinkProcess(Link(0.05))
    async with echo() as port:
        try:
            reader, writer = await asyncio.open_connection(HOST, await link.reach(port))
            sent = random.Random(1).randbytes(3_000_000)
            start_s = time.monotonic()
            writer.write(sent)
            writer.write_eof()
            assert await reader.read(1) == sent[:1]
            assert time.monotonic() - start_s >= 0.1, "the delay counts in both directions"
            assert sent[:1] + await reader.read() == sent
            writer.close()
        finally:
            await link.stop()
            await link.stop()


async def connected_and_read(port: int) -> None:
    """Read from a new connection; a reset may come as early as while it is made."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        await reader.readexactly(1)
    finally:
        writer.close()


@pytest.mark.slow
async def test_a_cut_resets_connections_and_refuses_new_ones_for_a_while() -> None:
    link = LinkProcess(Link())
    with pytest.raises(RuntimeError, match="not up"):
        await link.cut(1.0)
    async with echo() as port:
        try:
            near = await link.reach(port)
            reader, writer = await asyncio.open_connection(HOST, near)
            writer.write(b"x")
            assert await reader.read(1) == b"x"
            assert await link.cut(1.0) == 1
            with pytest.raises(ConnectionResetError):
                await reader.readexactly(1)
            writer.close()
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                await connected_and_read(near)
            assert await link.cut(0.0) == 0, "a shorter cut takes its place"
            reader, writer = await asyncio.open_connection(HOST, near)
            writer.write(b"y")
            assert await reader.read(1) == b"y"
            writer.close()
        finally:
            await link.stop()


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["push", "polling"])
async def test_clients_of_both_architectures_are_behind_the_link_of_their_settings(architecture: str) -> None:
    stack = FederationStack(architecture, "network", {"link_delay_s": 0.05})
    await stack.start(FederationSpec(2, ECHO))
    try:
        start_s = time.monotonic()
        assert [await stack.ping(client, client, deadline_s=30.0) for client in range(2)] == [0, 1]
        assert time.monotonic() - start_s >= 2 * 2 * 0.05
        if architecture == "polling":
            with pytest.raises(Unsupported, match="a polling client ends"):
                await stack.cut(0.1)
    finally:
        await stack.stop()


async def test_a_link_needs_a_network() -> None:
    for mode in ("memory", "process"):
        with pytest.raises(Unsupported, match="no link to put anything on"):
            await FederationStack("push", mode, {}).start(FederationSpec(1, ECHO, link=Link()))
        with pytest.raises(ValueError, match="has no settings, found link_loss"):
            FederationStack("push", mode, {"link_loss": 0.1})
        with pytest.raises(ConfigError):
            FederationStack("polling", mode, {"link_loss": 0.1}).check()
    stack = FederationStack("push", "memory", {})
    with pytest.raises(Unsupported, match="no link that could be cut"):
        await stack.cut(0.1)
    with pytest.raises(ValueError, match="link_loss is 'much': a number is needed"):
        FederationStack("push", "network", {"link_loss": "much"})
