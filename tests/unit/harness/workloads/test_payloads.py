"""Calls that carry models: each is the one that was sent, alone or all at once."""

from typing import Any

import pytest

from fedbench.errors import PeerLost
from fedbench.tensors.model import ModelState
from harness.records.derive import of_the_window
from harness.stacks.federation import FederationStack
from harness.stats.histogram import Histogram
from harness.workloads import payloads
from harness.workloads.beside import against_floor
from harness.workloads.registry import create_workload

pytestmark = pytest.mark.slow

MODES = ("memory", "process", "network")
BRIEF = {"clients": 2, "model_bytes": 4096, "operations": 3, "warmup": 1, "duration_s": 20.0}


def push(mode: str = "memory") -> FederationStack:
    return FederationStack("push", mode, {})


# rpc_payload


@pytest.mark.parametrize("mode", MODES)
async def test_models_come_back_as_they_went(drive, session, mode: str) -> None:
    outcome = await drive("rpc_payload", push(mode), **BRIEF)
    assert (outcome.operations, outcome.clients, outcome.wrong) == (3, 2, [])
    median_s = Histogram.from_dict(outcome.histograms["latency"]).percentile(0.5) / 1e9
    assert outcome.values == {"payload_bytes_per_s": pytest.approx(2 * 4096 / median_s)}
    assert outcome.missing == of_the_window("its window holds the making of the models, too")
    assert session.asked == [("begin", False), "end"]


@pytest.mark.parametrize(("kind", "method"), [("rpc_payload", "bounce"), ("fanin_burst", "burst")])
async def test_models_that_warm_up_are_not_measured(tapped, session, drive, kind: str, method: str) -> None:
    asked: list[tuple[str, bool]] = []

    class Noting(tapped):
        async def ask(self, client: int, name: str, **options: Any) -> Any:
            asked.append((name, bool(session.asked)))
            return await super().ask(client, name, **options)

    await drive(kind, Noting(), **BRIEF | {"clients": 1, "warmup": 2})
    assert asked == [(method, False)] * 2 + [(method, True)] * 3


async def test_models_come_back_from_pollers_too(drive) -> None:
    outcome = await drive("rpc_payload", FederationStack("polling", "memory", {}), **BRIEF)
    assert (outcome.operations, outcome.wrong) == (3, [])


async def test_calls_with_models_stop_when_the_time_is_up_but_one_counts(drive) -> None:
    outcome = await drive("rpc_payload", push(), **BRIEF | {"duration_s": 1e-6})
    assert outcome.operations == 1


@pytest.mark.parametrize(("mode", "floor"), [("memory", "memcpy"), ("network", "tcp")])
async def test_the_floor_is_both_ways_and_its_warm_up_does_not_count(
    drive, monkeypatch: pytest.MonkeyPatch, mode: str, floor: str
) -> None:
    timed: list[list[int]] = []

    def against(times_ns: list[int], latency: Histogram, reference_ns: list[int]) -> dict[str, float]:
        timed.append(times_ns)
        return against_floor(times_ns, latency, reference_ns)

    monkeypatch.setattr(payloads, "against_floor", against)
    outcome = await drive("rpc_payload", push(mode), **BRIEF | {"clients": 1, "floor": floor})
    assert outcome.wrong == []
    assert len(timed[0]) == 3
    assert outcome.values["floor_ratio"] > 0


async def test_a_model_that_comes_back_changed_or_not_at_all_is_found(tapped, drive, shifted) -> None:
    class Changing(tapped):
        calls = 0

        async def ask(self, client: int, method: str, **options: Any) -> Any:
            self.calls += 1
            answer = await super().ask(client, method, **options)
            return {2: shifted(answer, 1), 3: None}.get(self.calls, answer)

    outcome = await drive("rpc_payload", Changing(), **BRIEF)
    assert outcome.wrong == [
        "call 2 brought 4096 bytes from 3 to 3, not 2",
        "call 3 brought NoneType: None",
    ]
    assert outcome.operations == 3


def test_a_payload_takes_longer_the_larger_it_is_and_with_a_floor() -> None:
    def expected(poll_s: float = 0.0, **params: Any) -> float:
        return create_workload("rpc_payload", params).expected_s(poll_s=poll_s)

    assert expected(model_bytes=256 << 20) > 10 * expected()
    assert expected(floor="tcp") > expected() + 0.2
    assert expected(poll_s=0.01) > expected()


# fanin_burst


@pytest.mark.parametrize("mode", MODES)
async def test_all_clients_send_at_once_and_nothing_is_lost(drive, session, mode: str) -> None:
    outcome = await drive("fanin_burst", push(mode), **BRIEF | {"clients": 3})
    assert (outcome.operations, outcome.clients, outcome.wrong) == (3, 3, [])
    assert outcome.values["clients"] == 3.0
    median_s = Histogram.from_dict(outcome.histograms["latency"]).percentile(0.5) / 1e9
    assert 0 <= outcome.values["spread_p50_s"] <= max(median_s, 1e-3) * 3
    assert outcome.values["payload_bytes_per_s"] == pytest.approx(3 * 4096 / median_s)
    assert session.asked == [("begin", True), "sample", "sample", "sample", "end"]  # without the warm-up


async def test_bursts_reach_a_poller_too_and_end_with_the_time(drive) -> None:
    stack = FederationStack("polling", "memory", {})
    outcome = await drive("fanin_burst", stack, **BRIEF | {"duration_s": 1e-6})
    assert (outcome.operations, outcome.wrong) == (1, [])


async def test_a_burst_that_loses_a_client_is_the_last_and_names_it(tapped, drive) -> None:
    class Losing(tapped):
        asked = 0

        async def ask(self, client: int, method: str, **options: Any) -> Any:
            model = await super().ask(client, method, **options)
            self.asked += 1
            if self.asked > 3 and client == 1:
                raise PeerLost("yaml_client_2", "it died")
            return model

    outcome = await drive("fanin_burst", Losing(), **BRIEF | {"clients": 3})
    assert outcome.wrong == ["burst 2 of client 1 brought PeerLost: lost yaml_client_2: it died"]
    assert outcome.values["clients"] == 2.0
    assert outcome.operations == 1  # what came of the second counts, and nothing comes after it


async def test_a_model_of_an_earlier_burst_or_another_client_is_found(tapped, drive) -> None:
    class Stale(tapped):
        first: ModelState | None = None

        async def ask(self, client: int, method: str, **options: Any) -> Any:
            model = await super().ask(client, method, **options)
            if client == 0:
                self.first = self.first or model
                return self.first
            return model

    outcome = await drive("fanin_burst", Stale(), **BRIEF)
    assert outcome.wrong == ["burst 2 of client 0 brought 4096 bytes from 2 to 2, not 4"]


async def test_a_burst_that_goes_wrong_to_warm_up_is_the_last(tapped, drive) -> None:
    class Lost(tapped):
        async def ask(self, client: int, method: str, **options: Any) -> Any:
            model = await super().ask(client, method, **options)
            return model if client else None

    outcome = await drive("fanin_burst", Lost(), **BRIEF | {"warmup": 5})
    assert outcome.wrong == ["burst 1 of client 0 brought NoneType: None"]
    assert outcome.operations == 0


async def test_a_client_that_never_comes_to_the_barrier_is_told_by_the_deadline(tapped, drive) -> None:
    class Absent(tapped):
        async def ask(self, client: int, method: str, **options: Any) -> Any:
            if client == 0:
                raise PeerLost("yaml_client_1", "it died")
            return await super().ask(client, method, **options)

    outcome = await drive("fanin_burst", Absent(), **BRIEF | {"deadline_s": 0.05})
    assert [line.split(":")[0] for line in outcome.wrong] == [
        "burst 1 of client 0 brought PeerLost",
        "burst 1 of client 1 brought DeadlineExceeded",
    ]
    assert outcome.values == {"clients": 0.0}


def test_a_burst_takes_longer_the_more_take_part() -> None:
    few, many = (create_workload("fanin_burst", {"clients": n}) for n in (5, 500))
    assert many.expected_s(poll_s=0.0) > 10 * few.expected_s(poll_s=0.0) > 0
    assert few.expected_s(poll_s=0.01) > 1.0


@pytest.mark.parametrize("kind", ["rpc_payload", "fanin_burst"])
def test_models_are_expected_to_take_little_more_than_the_time_they_have(kind: str) -> None:
    large = {"model_bytes": 256 << 20, "clients": 1, "operations": 1000}
    short, long = (
        create_workload(kind, large | {"duration_s": duration_s}).expected_s(poll_s=0.0)
        for duration_s in (1.0, 5.0)
    )
    assert 1.0 < short < 5.0 < long < 9.0
