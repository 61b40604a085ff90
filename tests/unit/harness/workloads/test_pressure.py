"""One client that does not keep up: the others are measured beside it, its own calls are checked."""

from typing import Any

import pytest

from fedbench.errors import DeadlineExceeded, Overloaded, PeerLost
from harness.records.derive import Sampled, derive, of_the_log, of_the_window
from harness.stacks.base import Unsupported
from harness.stacks.federation import FederationStack
from harness.stats.histogram import Histogram
from harness.workloads.pressure import inflation
from harness.workloads.registry import create_workload

pytestmark = pytest.mark.slow

MODES = ("memory", "process", "network")
LATE = {"clients": 3, "operations": 2, "slow_s": 0.03, "deadline_s": 10.0, "duration_s": 20.0}
NEVER = LATE | {"slow_s": 10.0, "deadline_s": 0.03}
SLOW = {"clients": 3, "slices": 1, "slice_s": 0.3, "rate_per_s": 200.0, "flood_per_s": 8000.0, "slow_s": 0.02}


def push(mode: str = "memory") -> FederationStack:
    return FederationStack("push", mode, {})


def count(outcome: Any, name: str = "latency") -> int:
    return Histogram.from_dict(outcome.histograms[name]).count


def histogram(*values_ns: int) -> Histogram:
    made = Histogram()
    for value_ns in values_ns:
        made.record(value_ns)
    return made


def test_inflation_is_a_ratio_of_percentiles() -> None:
    ratios = inflation(histogram(100, 200, 900), histogram(100, 100, 300))
    assert ratios["inflation_p50_ratio"] == pytest.approx(2.0, rel=0.01)
    assert ratios["inflation_p99_ratio"] == pytest.approx(3.0, rel=0.01)


def test_nothing_is_no_inflation() -> None:
    assert inflation(histogram(), histogram(1)) == inflation(histogram(1), histogram()) == {}


# straggler


@pytest.mark.parametrize("architecture", ["push", "polling"])
async def test_a_late_answer_comes_and_the_others_are_called_as_often_without_it(
    drive, session, tapped, architecture: str
) -> None:
    calls: list[int] = []

    class Noting(FederationStack):
        async def ping(self, client: int, payload: Any, *, deadline_s: float) -> Any:
            if payload >= 0:
                calls.append(client)
            return await super().ping(client, payload, deadline_s=deadline_s)

    outcome = await drive("straggler", Noting(architecture, "memory", {}), **LATE)
    assert outcome.wrong == []
    assert set(calls) == {1, 2}
    assert len(calls) == 2 * outcome.operations == 2 * count(outcome) > 0
    assert outcome.values.keys() == {"inflation_p50_ratio", "inflation_p99_ratio"}
    reason = "its window holds the calls without the slow one, too"
    assert outcome.missing == of_the_window(reason) | of_the_log(reason)
    assert session.asked == [("begin", False), "end"]


@pytest.mark.parametrize("mode", MODES)
async def test_a_call_that_is_never_answered_ends_at_its_deadline(drive, mode: str) -> None:
    outcome = await drive("straggler", push(mode), **NEVER)
    assert outcome.wrong == []
    assert 0 <= outcome.values["deadline_error_max_s"] < 0.5


async def test_calls_stop_when_the_time_is_up(drive) -> None:
    outcome = await drive("straggler", push(), **NEVER | {"operations": 1000, "duration_s": 0.01})
    assert outcome.wrong == []
    assert outcome.operations > 0


class Ending(FederationStack):
    """A push stack whose slow call ends as the test says."""

    def __init__(self, end: Any) -> None:
        super().__init__("push", "memory", {})
        self._end = end

    async def ask(self, client: int, method: str, **options: Any) -> Any:
        if isinstance(self._end, Exception):
            raise self._end
        return self._end


@pytest.mark.parametrize(
    ("params", "end", "line"),
    [
        (NEVER, 0, "a call of 10.0 s was answered in spite of its deadline of 0.03 s"),
        (LATE, 1, "the slow call was answered with 1"),
        (LATE, DeadlineExceeded("early"), "a call of 0.03 s missed its deadline of 10.0 s after 0.0"),
    ],
)
async def test_a_slow_call_that_ends_otherwise_is_found(
    drive, params: dict[str, Any], end: Any, line: str
) -> None:
    outcome = await drive("straggler", Ending(end), **params | {"operations": 1})
    assert len(outcome.wrong) == 1
    assert outcome.wrong[0].startswith(line)


async def test_a_wrong_answer_of_the_others_is_found(tapped, drive) -> None:
    class Forgetful(tapped):
        async def ping(self, client: int, payload: Any, *, deadline_s: float) -> Any:
            answer = await super().ping(client, payload, deadline_s=deadline_s)
            return "?" if payload == 3 else answer

    outcome = await drive("straggler", Forgetful(), **LATE)
    assert outcome.wrong == ["ping 3 was answered with '?'"]


async def test_a_call_of_the_others_that_raises_leaves_no_slow_call_behind(tapped, drive) -> None:
    class Losing(tapped):
        async def ping(self, client: int, payload: Any, *, deadline_s: float) -> Any:
            if payload == 3:
                raise PeerLost("yaml_client_2", "it died")
            return await super().ping(client, payload, deadline_s=deadline_s)

    stack = Losing()
    with pytest.raises(PeerLost, match="it died"):
        await drive("straggler", stack, **LATE | {"slow_s": 60.0, "deadline_s": 60.0})
    assert stack.stops == 1


# slow_consumer


@pytest.mark.parametrize("mode", MODES)
async def test_a_slow_consumer_is_refused_more_and_the_rest_comes_in_order(drive, session, mode: str) -> None:
    outcome = await drive("slow_consumer", push(mode), **SLOW)
    assert outcome.wrong == []
    assert outcome.operations == count(outcome) > 10
    assert 0 < outcome.values["backpressure_s"] < 0.3
    assert 1000 < outcome.values["queued_messages"] < 2400
    assert outcome.values.keys() >= {"inflation_p50_ratio", "inflation_p99_ratio"}
    assert outcome.missing["gc_slow_share"] == "notifications overlap: one collection may hold up several"
    assert session.asked == [("begin", True), "end"]


async def test_every_slice_has_its_own_back_pressure_and_leaves_nothing_queued(tapped, drive) -> None:
    floods: list[int] = []

    class Noting(tapped):
        def notify(self, client: int, data: Any, *, intended_ns: int) -> None:
            super().notify(client, data, intended_ns=intended_ns)
            if client == 0:
                floods.append(data[0])

        async def ask(self, client: int, method: str, **options: Any) -> Any:
            answer = await super().ask(client, method, **options)
            if method == "hurry":
                assert [data[0] for _, data in self.echoes[0].events] == floods
            return answer

    outcome = await drive("slow_consumer", Noting(), **SLOW | {"slices": 2})
    assert outcome.wrong == []
    assert len(floods) > 2000


async def test_a_queue_without_bounds_is_found(tapped, drive) -> None:
    class Unbounded(tapped):
        def notify(self, client: int, data: Any, *, intended_ns: int) -> None:
            try:
                super().notify(client, data, intended_ns=intended_ns)
            except Overloaded:
                self.echoes[0].events.append((1, data))

    outcome = await drive("slow_consumer", Unbounded(), **SLOW)
    assert outcome.wrong[0].startswith("client 0 was slow, and none of ")
    assert "backpressure_s" not in outcome.values


async def test_what_others_miss_or_are_refused_is_found(tapped, drive) -> None:
    class Lossy(tapped):
        others = 0

        def notify(self, client: int, data: Any, *, intended_ns: int) -> None:
            self.others += client > 0
            if client and self.others == 2:
                raise Overloaded("full")
            if not (client and self.others == 3):
                super().notify(client, data, intended_ns=intended_ns)

    outcome = await drive("slow_consumer", Lossy(), **SLOW)
    refused, missed = outcome.wrong
    assert refused.endswith("was refused: full")
    assert missed.endswith("1 missed, 0 unasked or again, or out of order")


async def test_a_slow_consumer_beside_which_nobody_was_notified_measured_nothing(drive) -> None:
    outcome = await drive("slow_consumer", push(), **SLOW | {"rate_per_s": 1.0})
    assert outcome.wrong == []
    with pytest.raises(ValueError, match="measured no operation"):
        derive(Sampled(elapsed_s=1.0), outcome)


async def test_a_poller_has_no_bound_to_show(drive) -> None:
    with pytest.raises(Unsupported, match="polling has mailboxes without bounds"):
        await drive("slow_consumer", FederationStack("polling", "memory", {}), **SLOW)


@pytest.mark.parametrize("kind", ["straggler", "slow_consumer"])
async def test_there_must_be_others(tapped, drive, kind: str) -> None:
    stack = tapped()
    with pytest.raises(ValueError, match=r"clients is 1: a .* needs others beside it"):
        await drive(kind, stack, clients=1)
    assert stack.stops == 0


def test_pressure_takes_its_time() -> None:
    def expected(kind: str, **params: Any) -> float:
        return create_workload(kind, params).expected_s(poll_s=0.0)

    assert expected("straggler", operations=10, slow_s=0.1, duration_s=60.0) == pytest.approx(2.05)
    assert expected("straggler", operations=1000, slow_s=60.0, deadline_s=0.1, duration_s=3.0) < 3.5
    assert expected("slow_consumer", slices=3, slice_s=1.0) > 6.0
