"""Start-up and memory over the number of clients, with real processes."""

from __future__ import annotations

import pytest

from harness.records.derive import of_the_window
from harness.stacks.federation import FederationStack
from harness.workloads.scaling import MemorySlope, Startup


async def test_a_start_is_timed_and_every_client_answers(session) -> None:
    outcome = await Startup({"clients": 3}).run(FederationStack("push", "process", {}), session)
    assert outcome.wrong == []
    assert outcome.clients == 3
    assert 0.0 < outcome.values["start_s"] < 30.0
    assert session.asked == [("begin", False), "end"]


async def test_a_start_that_fails_leaves_nothing_running(session) -> None:
    class Deaf(FederationStack):
        async def ping(self, client, payload, *, deadline_s):
            return "something else"

    outcome = await Startup({"clients": 2}).run(Deaf("push", "process", {}), session)
    assert len(outcome.wrong) == 2


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
