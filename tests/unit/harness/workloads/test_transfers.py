from typing import Any

import numpy as np
import pytest

from fedbench.errors import PeerLost
from fedbench.tensors.model import ModelState
from harness.records.derive import of_the_window
from harness.stacks.base import FederationSpec
from harness.stacks.federation import FederationStack
from harness.stats.histogram import Histogram
from harness.workloads.base import LEARNERS
from harness.workloads.beside import Pace
from harness.workloads.registry import create_workload

pytestmark = pytest.mark.slow


def count(outcome: Any, name: str) -> int:
    return Histogram.from_dict(outcome.histograms[name]).count


async def test_every_client_applies_every_broadcast(stack, session, drive) -> None:
    outcome = await drive("broadcast", stack, clients=3, model_bytes=64, operations=4, duration_s=5.0)
    assert (outcome.operations, outcome.clients, outcome.wrong) == (4, 3, [])
    assert count(outcome, "latency") == 4
    assert outcome.missing == {}
    assert session.asked == [("begin", False), "end"]


async def test_broadcasts_stop_when_the_time_is_up(stack, drive) -> None:
    brief = {"clients": 2, "model_bytes": 64, "operations": 9, "warmup": 5, "duration_s": 1e-6}
    outcome = await drive("broadcast", stack, **brief)
    assert (outcome.operations, outcome.wrong) == (1, [])


@pytest.mark.parametrize(("kind", "sending"), [("broadcast", "broadcast"), ("fetch", "ask")])
async def test_what_warms_up_is_not_measured(
    tapped, session, drive, monkeypatch: pytest.MonkeyPatch, kind: str, sending: str
) -> None:
    measured: list[bool] = []
    stack = tapped()
    send = getattr(stack, sending)

    async def noting(*arguments: Any) -> Any:
        measured.append(session.asked == [("begin", False)])
        return await send(*arguments)

    monkeypatch.setattr(stack, sending, noting)
    outcome = await drive(kind, stack, model_bytes=64, operations=3, warmup=2, duration_s=5.0)
    each = 2 if kind == "fetch" else 1  # it is made, and then fetched
    assert measured[: 5 * each] == [False] * 2 * each + [True] * 3 * each
    assert outcome.operations == 3


async def test_a_broadcast_that_fails_is_found(tapped, drive) -> None:
    class Failing(tapped):
        async def broadcast(self, model: ModelState) -> dict[str, Exception | None]:
            outcomes = await super().broadcast(model)
            return outcomes | {"yaml_client_2": PeerLost("yaml_client_2", "it died")}

    outcome = await drive("broadcast", Failing(), clients=2, model_bytes=64, operations=1)
    assert outcome.wrong == ["yaml_client_2: lost yaml_client_2: it died"]


async def test_a_broadcast_that_is_acknowledged_and_not_applied_is_found(tapped, drive) -> None:
    class Deaf(tapped):
        async def broadcast(self, model: ModelState) -> dict[str, Exception | None]:
            outcomes = await super().broadcast(model)
            if model.version == 2:
                self.echoes[1].versions.remove(2)
            return outcomes

    outcome = await drive("broadcast", Deaf(), clients=2, model_bytes=64, operations=3)
    assert outcome.wrong == [
        "client 1 applied {'versions': [1, 3], 'ends': [[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]}"
    ]


async def test_broadcasts_that_nobody_looks_at_are_held_by_every_client(stack, drive) -> None:
    outcome = await drive("broadcast", stack, clients=3, model_bytes=64, operations=4, watched=False)
    assert (outcome.operations, outcome.wrong) == (4, [])


async def test_a_client_that_does_not_hold_the_last_broadcast_is_found(tapped, drive) -> None:
    class Forgetful(tapped):
        async def ask(self, client: int, method: str) -> Any:
            model = await super().ask(client, method)
            return model.with_version(2) if client == 1 else model

    outcome = await drive("broadcast", Forgetful(), clients=2, model_bytes=64, operations=3, watched=False)
    assert outcome.wrong == ["client 1 holds version 2 from 3.0 to 3.0, not 3"]


@pytest.mark.parametrize("more", [{"warmup": 3}, {"floor": "memcpy"}])
def test_a_broadcast_is_expected_with_its_warm_up_and_its_floor(more: dict[str, Any]) -> None:
    bulk = {"clients": 4, "model_bytes": 100_000_000, "operations": 10}
    plain, whole = (create_workload("broadcast", {**bulk, **params}) for params in ({}, more))
    assert whole.expected_s(poll_s=0.0) > plain.expected_s(poll_s=0.0) + 0.1


@pytest.mark.parametrize(
    ("kind", "params"),
    [
        ("broadcast", {"clients": 1, "model_bytes": 100_000_000, "floor": "tcp"}),
        ("broadcast", {"clients": 1000, "model_bytes": 10_000, "floor": "ws_broadcast"}),
        ("fetch", {"model_bytes": 100_000_000, "floor": "tcp"}),
    ],
)
def test_floors_with_another_process_take_their_time(kind: str, params: dict[str, Any]) -> None:
    alone, beside = (create_workload(kind, {**params, **more}) for more in ({"floor": ""}, {}))
    assert beside.expected_s(poll_s=0.0) > alone.expected_s(poll_s=0.0) + 1.0


def test_fetching_from_a_poller_takes_what_it_is_given() -> None:
    workload = create_workload("fetch", {"model_bytes": 64, "duration_s": 3.0})
    assert workload.expected_s(poll_s=0.001) > 3.0 > workload.expected_s(poll_s=0.0)


@pytest.mark.parametrize("mode", ["memory", "process"])
@pytest.mark.parametrize("in_place", [False, True])
async def test_a_warm_broadcast_is_timed_beside_a_copy(drive, timed, mode: str, in_place: bool) -> None:
    params = {"clients": 2, "model_bytes": 1 << 20, "operations": 4, "warmup": 2, "floor": "memcpy"}
    outcome = await drive("broadcast", FederationStack("push", mode, {}), in_place=in_place, **params)
    assert outcome.wrong == []
    assert outcome.operations == 4
    assert outcome.values["floor_s"] > 0.0
    assert timed == [4]  # beside what counts, and no other
    assert outcome.missing == of_the_window("its window holds the floor, too")


async def test_what_the_pace_takes_between_broadcasts_is_known(drive, timed, monkeypatch) -> None:
    """The window holds none of those of the warm-up."""
    monkeypatch.setattr(Pace, "time", lambda _: 1_000_000)
    params = {"clients": 2, "model_bytes": 4096, "operations": 4, "warmup": 2, "floor": "pace"}
    outcome = await drive("broadcast", FederationStack("push", "memory", {}), **params)
    assert (outcome.operations, outcome.wrong, timed) == (4, [], [4])
    assert outcome.floor_cpu_s == pytest.approx(0.004)
    assert "ops_per_s" in outcome.missing
    assert "cpu_s_per_op" not in outcome.missing


async def test_what_is_placed_lies_where_the_server_keeps_its_models() -> None:
    stack = FederationStack("push", "process", {})
    await stack.start(FederationSpec(1, f"{LEARNERS}:EchoLearner"))
    try:
        placed = await stack.place(ModelState.from_arrays({"values": np.ones(8, np.float32)}, 1))
        assert stack._running.store.holds(placed)
    finally:
        await stack.stop()


@pytest.mark.parametrize(("clients", "floor"), [(3, "ws_broadcast"), (1, "tcp")])
async def test_a_broadcast_by_network_is_timed_beside_its_bare_means(
    drive, timed, clients: int, floor: str
) -> None:
    params = {"clients": clients, "model_bytes": 100_000, "operations": 3, "warmup": 1, "floor": floor}
    outcome = await drive("broadcast", FederationStack("push", "network", {}), duration_s=30.0, **params)
    assert (outcome.operations, outcome.wrong, timed) == (3, [], [3])
    assert outcome.values["floor_ratio"] > 0.0
    assert outcome.missing == of_the_window("its window holds the floor, too")


async def test_a_broadcast_reaches_a_crowd(drive) -> None:
    params = {"clients": 6, "per_process": 3, "model_bytes": 1000, "operations": 3, "floor": "ws_broadcast"}
    outcome = await drive("broadcast", FederationStack("push", "network", {}), duration_s=30.0, **params)
    assert (outcome.operations, outcome.clients, outcome.wrong) == (3, 6, [])


def test_a_crowd_takes_longer_to_come() -> None:
    few, crowd = (create_workload("broadcast", {"clients": 1000, "per_process": n}) for n in (1, 1000))
    assert crowd.expected_s(poll_s=0.0) > few.expected_s(poll_s=0.0) + 1.0


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            {"floor": "udp"},
            "unknown floor 'udp': use one of memcpy, two_threads, pace, ws_broadcast, tcp",
        ),
        ({"floor": "tcp", "clients": 2}, "the floor 'tcp' is one of a single client, not of 2"),
    ],
)
async def test_a_floor_that_cannot_be_is_refused_before_anything_starts(
    tapped, drive, params: dict[str, Any], message: str
) -> None:
    stack = tapped()
    with pytest.raises(ValueError, match=message):
        await drive("broadcast", stack, **params)
    assert stack.stops == 0


async def test_every_model_that_is_fetched_is_another_one(stack, session, drive) -> None:
    outcome = await drive("fetch", stack, model_bytes=4096, operations=4, duration_s=5.0, warmup=2)
    assert (outcome.operations, outcome.clients, outcome.wrong) == (4, 1, [])
    assert count(outcome, "latency") == 4
    assert outcome.missing == of_the_window("its window holds the making of the models, too")
    assert session.asked == [("begin", False), "end"]


async def test_fetching_stops_when_the_time_is_up(stack, drive) -> None:
    outcome = await drive("fetch", stack, model_bytes=64, operations=9, warmup=5, duration_s=1e-6)
    assert (outcome.operations, outcome.wrong) == (1, [])


async def test_a_model_that_was_fetched_before_is_found(tapped, drive) -> None:
    class Stale(tapped):
        async def ask(self, client: int, method: str) -> Any:
            return None if method == "make" and self.made else await super().ask(client, method)

        @property
        def made(self) -> int:
            return self.echoes[0]._made

    outcome = await drive("fetch", Stale(), model_bytes=64, operations=2)
    assert outcome.wrong == ["model 2 came with 64 bytes from 1.0 to 1.0"]


@pytest.mark.parametrize("mode", ["process", "network"])
async def test_a_fetch_is_timed_beside_bare_tcp(drive, timed, mode: str) -> None:
    params = {"model_bytes": 1 << 20, "operations": 3, "warmup": 1, "duration_s": 30.0, "floor": "tcp"}
    outcome = await drive("fetch", FederationStack("push", mode, {}), **params)
    assert (outcome.operations, outcome.wrong, timed) == (3, [], [3])
    assert outcome.values["floor_ratio"] > 0.0
