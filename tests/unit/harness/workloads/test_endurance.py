"""Soak: mixed traffic, all of it accounted for; slopes are of what was held."""

import asyncio
import time
from typing import Any

import pytest

from fedbench.tensors.model import ModelState
from harness.records.derive import Sampled, derive, of_the_window
from harness.stacks.federation import FederationStack
from harness.stats.histogram import Histogram
from harness.workloads import endurance
from harness.workloads.endurance import Holdings, growth
from harness.workloads.registry import create_workload

BRIEF = {"clients": 3, "duration_s": 0.4, "model_bytes": 256, "samples": 8}
SLOPES = {
    "memory_growth_bytes_per_min",
    "fds_growth_per_min",
    "threads_growth_per_min",
    "tasks_growth_per_min",
}


def held(*fds: int, every_s: float = 6.0) -> list[Holdings]:
    return [Holdings(i * every_s, 1000 * n, n, 5, 2 * n) for i, n in enumerate(fds)]


def test_growth_is_per_minute_and_leaves_the_beginning_out() -> None:
    slopes = growth(held(900, 0, 10, 11, 12, 13, 14, 15))
    assert slopes == {
        "memory_growth_bytes_per_min": pytest.approx(10_000),
        "fds_growth_per_min": pytest.approx(10),
        "threads_growth_per_min": 0.0,
        "tasks_growth_per_min": pytest.approx(20),
    }


def test_too_few_moments_have_no_growth() -> None:
    assert growth([]) == growth(held(3)) == growth(held(3, 4, every_s=0.0)) == {}


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["memory", "process", "network"])
async def test_mixed_traffic_is_accounted_for(drive, session, mode: str) -> None:
    outcome = await drive("soak", FederationStack("push", mode, {}), **BRIEF)
    assert outcome.wrong == []
    assert outcome.values.keys() == SLOPES | {"late_early_ratio"}
    assert outcome.values["late_early_ratio"] > 0
    calls = Histogram.from_dict(outcome.histograms["latency"]).count
    assert 0.5 * outcome.operations < calls < outcome.operations
    assert outcome.missing == of_the_window("its window holds the looks at all processes, too") | {
        "memory_growth_bytes_per_min": "within less than 60 s a slope of memory is noise"
    }
    assert session.asked == [("begin", False), "end"]


@pytest.mark.slow
async def test_a_poller_soaks_too(drive) -> None:
    outcome = await drive("soak", FederationStack("polling", "memory", {}), **BRIEF)
    assert outcome.wrong == []
    assert outcome.operations > 3


@pytest.mark.slow
async def test_descriptors_and_tasks_that_are_left_behind_have_a_slope(
    tapped, drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[asyncio.Task[Any]] = []
    look = endurance._holdings

    def leaking(at_s: float) -> Holdings:
        left.append(asyncio.get_running_loop().create_task(asyncio.Event().wait()))
        moment = look(at_s)
        return moment._replace(fds=moment.fds + len(left))

    monkeypatch.setattr(endurance, "_holdings", leaking)
    outcome = await drive("soak", tapped(), **BRIEF)
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    assert outcome.values["tasks_growth_per_min"] > 100
    assert outcome.values["fds_growth_per_min"] > 100


@pytest.mark.slow
async def test_looks_that_take_long_are_few(tapped, drive, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[float] = []

    def slow(at_s: float) -> Holdings:
        looks.append(at_s)
        time.sleep(0.01)  # what a look takes of the time it is bounded by
        return Holdings(at_s, 1, 1, 1, 1)

    monkeypatch.setattr(endurance, "_holdings", slow)
    await drive("soak", tapped(), **BRIEF | {"samples": 100})
    assert 2 <= len(looks) <= 6  # at the beginning, at most at 0.1, 0.2, 0.3 s, and at the end


@pytest.mark.slow
async def test_a_minute_has_a_slope_of_memory(tapped, drive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endurance, "LEAST_FOR_MEMORY_S", 0.2)
    outcome = await drive("soak", tapped(), **BRIEF)
    assert "memory_growth_bytes_per_min" not in outcome.missing


@pytest.mark.slow
async def test_lost_events_are_found(tapped, drive) -> None:
    class Lossy(tapped):
        def notify(self, client: int, data: Any, *, intended_ns: int) -> None:
            if (client, data) != (1, 2):
                super().notify(client, data, intended_ns=intended_ns)

    outcome = await drive("soak", Lossy(), **BRIEF)
    assert len(outcome.wrong) == 1
    assert outcome.wrong[0].startswith("client 1 was sent [")


@pytest.mark.slow
async def test_wrong_answers_and_broadcasts_that_fail_end_the_traffic(tapped, drive) -> None:
    class Broken(tapped):
        async def ping(self, client: int, payload: Any, *, deadline_s: float) -> Any:
            return None if payload else await super().ping(client, payload, deadline_s=deadline_s)

        async def broadcast(self, model: ModelState) -> dict[str, Exception | None]:
            return {"yaml_client_1": ValueError("no")}

    outcome = await drive("soak", Broken(), **BRIEF | {"duration_s": 60.0})
    assert 20 <= len(outcome.wrong) < 30
    assert "ping 1 was answered with None" in outcome.wrong[:2]


@pytest.mark.slow
async def test_a_soak_too_short_for_a_call_measured_nothing(drive) -> None:
    outcome = await drive("soak", FederationStack("push", "memory", {}), **BRIEF | {"duration_s": 1e-9})
    assert (outcome.operations, outcome.wrong) == (0, [])
    with pytest.raises(ValueError, match="measured no operation"):
        derive(Sampled(elapsed_s=1.0), outcome)


async def test_too_few_samples_are_refused(tapped, drive) -> None:
    stack = tapped()
    with pytest.raises(ValueError, match="samples is 3: a slope needs at least 4"):
        await drive("soak", stack, samples=3)
    assert stack.stops == 0


def test_a_soak_takes_its_duration() -> None:
    workload = create_workload("soak", {"duration_s": 1800.0})
    assert workload.expected_s(poll_s=0.0) == pytest.approx(1800.05)
