"""Start-up and memory over the number of clients, with real processes."""

from __future__ import annotations

import mmap
import os

import pytest

from fedbench.errors import DeadlineExceeded
from harness.probes.tree import process_tree
from harness.records.derive import of_the_window
from harness.stacks.base import Unsupported
from harness.stacks.federation import FederationStack
from harness.workloads.scaling import Crowd, MemorySlope, Startup
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


async def test_every_client_of_a_crowd_answers_and_costs_its_server_memory(session) -> None:
    params = {"clients": 60, "per_process": 30, "idle_s": 0.25, "settle_s": 0.125}
    outcome = await Crowd(params).run(FederationStack("push", "network", {}), session)
    assert (outcome.wrong, outcome.clients, outcome.operations) == ([], 60, 0)
    assert outcome.values.keys() == {"start_s", "server_per_client_bytes", "server_cpu_cores", "clients"}
    assert outcome.values["clients"] == 60.0
    assert 0.0 < outcome.values["start_s"] < 30.0
    assert outcome.values["server_cpu_cores"] >= 0.0
    assert session.asked == [0.125, ("begin", False), 0.25, "end"]


async def test_what_the_server_holds_for_each_client_is_counted(session) -> None:
    class Heavy(FederationStack):
        async def start(self, spec):
            await super().start(spec)
            self.held = [mmap.mmap(-1, 1 << 20) for _ in range(spec.clients)]  # new pages, none used before
            for pages in self.held:
                pages.write(b"." * len(pages))

        async def stop(self):
            self.held = []
            await super().stop()

    stack = Heavy("push", "memory", {})
    outcome = await Crowd({"clients": 30, "per_process": 1}).run(stack, session)
    assert outcome.values["server_per_client_bytes"] == pytest.approx(1 << 20, rel=0.2)


async def test_clients_of_a_crowd_that_do_not_answer_do_not_count(session) -> None:
    class Partly(FederationStack):
        async def ping(self, client, payload, *, deadline_s):
            if client == 1:
                raise DeadlineExceeded("no answer")
            return "?" if client == 2 else payload

    outcome = await Crowd({"clients": 4, "per_process": 1}).run(Partly("push", "memory", {}), session)
    assert outcome.wrong == ["client 1 answered DeadlineExceeded('no answer')", "client 2 answered '?'"]
    assert outcome.values["clients"] == 2.0


async def test_a_crowd_is_none_where_clients_cannot_share_processes(session) -> None:
    with pytest.raises(Unsupported, match="clients share processes under push by network only"):
        await Crowd({"clients": 4}).run(FederationStack("push", "process", {}), session)
    with pytest.raises(ValueError, match="per_process is 0: it must be at least 1"):
        await Crowd({"clients": 4, "per_process": 0}).run(FederationStack("push", "network", {}), session)


def test_a_crowd_is_expected_to_take_longer_the_larger_it_is() -> None:
    small, large, spread = (
        Crowd({"clients": clients, "per_process": per_process}).expected_s(poll_s=0.0)
        for clients, per_process in ((100, 100), (1000, 1000), (1000, 1))
    )
    assert small > 2.5
    assert spread > large > small + 1.0
