"""Overload: the steps are judged by what was answered in time, and the federation lives on."""

import asyncio
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbench.errors import DeadlineExceeded, Overloaded
from harness.stacks.federation import FederationStack
from harness.stats.histogram import Histogram
from harness.workloads.overload import PERCENTS, Step, judge
from harness.workloads.registry import create_workload
from tests.fakes import virtual
from tests.pace import limit_s

BRIEF = {"clients": 3, "callers": 8, "capacity_s": 0.05, "step_s": 0.05, "late_s": 0.03}


def steps(*in_time: int, offered: int = 100) -> list[Step]:
    counts = zip(PERCENTS, in_time, strict=True)
    return [Step(percent, offered, answered, offered - answered, 0) for percent, answered in counts]


def test_the_goodput_of_each_step_is_per_second() -> None:
    values = judge(steps(50, 75, 100, 90, 80), 0.5)
    assert [values[f"goodput_{percent}_ops_per_s"] for percent in PERCENTS] == [100, 150, 200, 180, 160]
    assert values["goodput_retention_share"] == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("in_time", "knee"),
    [
        ((100, 100, 95, 94, 0), 1.0),
        ((100, 100, 100, 100, 100), 1.5),
        ((94, 100, 100, 100, 100), 0.0),  # what is not served at half the load has no knee above it
        ((100, 0, 100, 100, 100), 0.5),
    ],
)
def test_the_knee_is_the_last_load_up_to_which_all_were_served(in_time: tuple[int, ...], knee: float) -> None:
    assert judge(steps(*in_time), 1.0)["knee_share"] == knee


def test_what_was_lost_is_a_share_of_the_last_step() -> None:
    last = Step(150, 200, 50, 100, 50)
    values = judge([*steps(1, 1, 1, 1, 1)[:4], last], 1.0)
    assert (values["refused_share"], values["late_share"]) == (0.25, 0.5)


@given(st.lists(st.integers(0, 100), min_size=5, max_size=5), st.integers(0, 100))
def test_shares_are_shares_whatever_happened(in_time: list[int], offered: int) -> None:
    values = judge(steps(*(min(n, offered) for n in in_time), offered=offered), 0.1)
    for name in ("goodput_retention_share", "refused_share", "late_share"):
        assert 0 <= values[name] <= 1
    assert values["knee_share"] in (0, 0.5, 0.75, 1.0, 1.25, 1.5)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["memory", "process", "network"])
async def test_a_federation_that_was_overloaded_answers_afterwards(drive, session, mode: str) -> None:
    outcome = await drive("overload", FederationStack("push", mode, {}), **BRIEF)
    assert outcome.wrong == []
    assert outcome.operations > 10
    assert 0 < Histogram.from_dict(outcome.histograms["latency"]).count <= outcome.operations
    assert outcome.histograms.keys() == {"latency", "intended"}  # it is meant to lag, and not void for that
    assert 0 < outcome.values["recovery_s"] < limit_s(5)
    assert outcome.values["goodput_50_ops_per_s"] <= outcome.values["capacity_ops_per_s"]
    assert session.asked == [("begin", False), "end"]


class Queue(FederationStack):
    """An ideal server with one queue: takes the same time for each call in turn."""

    per_s = 2000.0

    def __init__(self) -> None:
        super().__init__("push", "memory", {})
        self.free_s = 0.0

    async def ping(self, client: int, payload: Any, *, deadline_s: float) -> Any:
        now_s = time.monotonic()
        self.free_s = max(self.free_s, now_s) + 1 / self.per_s
        if self.free_s - now_s > deadline_s:
            await asyncio.sleep(deadline_s)
            raise DeadlineExceeded("it has not come to it")
        await asyncio.sleep(self.free_s - now_s)
        return payload


@pytest.mark.slow
def test_nothing_is_served_above_the_capacity_however_short_the_steps(drive) -> None:
    brief = BRIEF | {"callers": 32, "capacity_s": 0.3, "step_s": 0.3, "late_s": 0.05}
    outcome = virtual.run(drive("overload", Queue(), **brief))
    values = outcome.values
    assert values["capacity_ops_per_s"] == pytest.approx(Queue.per_s, rel=0.05)
    for percent in PERCENTS:
        assert values[f"goodput_{percent}_ops_per_s"] <= 1.05 * Queue.per_s
    assert 0.5 <= values["knee_share"] <= 1.0
    assert values["goodput_150_ops_per_s"] < 0.2 * Queue.per_s  # it serves what is too late already
    assert sum(values[f"goodput_{percent}_ops_per_s"] for percent in PERCENTS) * 0.3 <= outcome.operations
    assert outcome.missing["log_records_per_op"] == "its window holds the calls of the lead-ins, too"


@pytest.mark.slow
async def test_a_poller_can_be_overloaded_too(drive) -> None:
    outcome = await drive("overload", FederationStack("polling", "memory", {}), **BRIEF)
    assert outcome.wrong == []
    assert outcome.values["capacity_ops_per_s"] > 0


class Breaking(FederationStack):
    """A push stack that raises in place of an answer while it is overloaded."""

    def __init__(self, error: Exception) -> None:
        super().__init__("push", "memory", {})
        self._error = error

    async def ping(self, client: int, payload: Any, *, deadline_s: float) -> Any:
        if deadline_s < 1:
            raise self._error.with_traceback(None)
        return await super().ping(client, payload, deadline_s=deadline_s)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("error", "lost"), [(Overloaded("full"), "refused_share"), (DeadlineExceeded("late"), "late_share")]
)
async def test_calls_that_are_refused_or_late_are_no_goodput_and_no_fault(
    drive, error: Exception, lost: str
) -> None:
    outcome = await drive("overload", Breaking(error), **BRIEF)
    assert outcome.wrong == []
    assert (outcome.values[lost], outcome.values["knee_share"]) == (1.0, 0.0)
    assert outcome.values["goodput_retention_share"] == 0.0
    assert outcome.histograms == {}


@pytest.mark.slow
async def test_a_federation_that_answers_no_more_is_found(tapped, drive) -> None:
    class Dead(tapped):
        overloaded = False

        async def ping(self, client: int, payload: Any, *, deadline_s: float) -> Any:
            self.overloaded |= deadline_s < 1
            if self.overloaded and deadline_s > 1:
                raise DeadlineExceeded("it is dead")
            return await super().ping(client, payload, deadline_s=deadline_s)

    outcome = await drive("overload", Dead(), **BRIEF)
    assert outcome.wrong == ["after the overload 3 calls came too late and 0 were refused"]


def test_an_overload_is_expected_to_take_all_its_steps() -> None:
    workload = create_workload("overload", {"step_s": 1.0, "late_s": 0.2, "capacity_s": 0.5})
    assert workload.expected_s(poll_s=0.0) == pytest.approx(12.3)  # 5 x (1.0 + 1.0 + 0.2) + 2.5 x 0.5
    assert workload.expected_s(poll_s=1.0) > 15
