"""Start-up and memory over the number of clients, with real processes."""

from __future__ import annotations

import os

import pytest

from fedbench.errors import DeadlineExceeded
from harness.probes.tree import process_tree
from harness.records.derive import of_the_window
from harness.stacks.federation import FederationStack
from harness.workloads.scaling import MemorySlope, Startup
from tests.fakes.fleet import running


async def test_a_start_is_timed_and_every_client_answers(session) -> None:
    outcome = await Startup({"clients": 3}).run(FederationStack("push", "process", {}), session)
    assert outcome.wrong == []
    assert outcome.clients == 3
    assert 0.0 < outcome.values["start_s"] < 30.0
    assert session.asked == [("begin", False), "end"]


class Deaf(FederationStack):
    """Its clients answer something else, or nothing; it remembers their processes.

    Attributes:
        raises: Whether an answer that does not come is told.
        clients: Processes two below this one: the fork server's children.
    """

    raises = False

    async def ping(self, client, payload, *, deadline_s):
        below = process_tree(os.getpid())[1:]
        self.clients = {pid for child in below for pid in process_tree(child)[1:]}
        if self.raises:
            raise DeadlineExceeded("no answer")
        return "something else"


@pytest.mark.parametrize("raises", [False, True])
async def test_a_start_that_fails_leaves_nothing_running(session, raises: bool) -> None:
    stack = Deaf("push", "process", {})
    stack.raises = raises
    if raises:
        with pytest.raises(DeadlineExceeded):
            await Startup({"clients": 2}).run(stack, session)
    else:
        assert len((await Startup({"clients": 2}).run(stack, session)).wrong) == 2
    assert len(stack.clients) == 2
    assert not [pid for pid in stack.clients if running(pid)]


async def test_the_slope_is_what_a_client_and_its_update_cost(session) -> None:
    params = {"clients": 6, "step": 3, "model_bytes": 4 << 20}
    outcome = await MemorySlope(params).run(FederationStack("push", "process", {}), session)
    assert outcome.wrong == []
    assert outcome.missing == of_the_window("its federations start and end within its window")
    values = outcome.values
    assert 1 << 20 < values["uss_per_client_bytes"] < 40 << 20
    # Its process, and the slot of its update.
    assert 5 << 20 < values["memory_per_client_bytes"] < 60 << 20


async def test_clients_of_memory_mode_have_no_memory_of_their_own(session) -> None:
    params = {"clients": 4, "step": 2, "model_bytes": 4096}
    outcome = await MemorySlope(params).run(FederationStack("push", "memory", {}), session)
    assert "uss_per_client_bytes" not in outcome.values
    assert "memory_per_client_bytes" in outcome.values


def test_a_slope_needs_two_sizes() -> None:
    with pytest.raises(ValueError, match="a slope needs at least two steps of 20"):
        MemorySlope({"clients": 30, "step": 20}).expected_s(poll_s=0.0)
