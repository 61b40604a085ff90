import math
import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.acceptance.criteria import EXACT, KINDS
from harness.records.schema import CriterionRecord, Observation
from scripts.deciding_rates import CASES, rates
from tests.unit.harness.acceptance.cells import BUSY, cell, controls, criterion, decided, judged

BETTER = ["fail", "inconclusive", "contaminated", "pass"]
"""Verdicts from the worst."""
LOOKS = (6, 10, 16, 24)
COMPARED = [kind for kind in KINDS if kind not in EXACT]

positive = st.floats(0.01, 100.0)
samples = st.lists(positive, min_size=12, max_size=12)


def against(
    kind: str, target: float, push: Sequence[float | None], looks: Sequence[int] = (6,)
) -> CriterionRecord:
    """Decide ``push`` against a base of 100 in the same blocks."""
    return judged(
        criterion(kind, target), cell("polling", [100.0] * len(push)), cell("push", push), looks=looks
    )


# passes, fails, and what lies between


@pytest.mark.parametrize(
    ("kind", "target", "push", "verdict"),
    [
        ("reduction", 0.8, [10, 14, 12, 20, 16, 11], "pass"),  # the worst of six is exactly at the target
        ("reduction", 0.8, [10, 14, 12, 21, 16, 11], "inconclusive"),
        ("reduction", 0.8, [21, 30, 25, 40, 35, 22], "inconclusive"),  # nothing confirms it
        ("reduction", 0.8, [21, 30, 25, 40, 35, 22] * 2, "fail"),
        ("reduction", 0.95, [0] * 6, "pass"),
        ("ratio", 3.0, [100, 200, 150, 299, 250, 110], "pass"),
        ("ratio", 3.0, [100, 200, 150, 301, 250, 110], "inconclusive"),
        ("ratio", 3.0, [301, 320, 310, 340, 330, 305] * 2, "fail"),
        ("limit", 50.0, [10, 50, 20, 40, 30, 45], "pass"),
        ("limit", 50.0, [10, 51, 20, 40, 30, 45], "inconclusive"),
        ("limit", 50.0, [51, 60, 55, 53, 52, 58] * 2, "fail"),
    ],
)
def test_six_blocks_decide_if_all_of_them_agree(
    kind: str, target: float, push: list[float], verdict: str
) -> None:
    assert (
        judged(
            criterion(kind, target),
            cell("polling", [100.0] * len(push)),
            cell("push", push),
            looks=LOOKS,
        ).verdict
        == verdict
    )


@pytest.mark.parametrize(("kind", "target"), [("reduction", 0.5), ("ratio", 0.5), ("limit", 50.0)])
@pytest.mark.parametrize(("value", "verdict"), [(50.0, "pass"), (50.5, "fail")])
def test_identical_samples_are_decided_at_the_target_itself(
    kind: str, target: float, value: float, verdict: str
) -> None:
    record = against(kind, target, [value] * 12)
    assert (record.verdict, record.n) == (verdict, 6)
    assert record.ci_low == pytest.approx(record.value)


@pytest.mark.parametrize("kind", COMPARED)
@pytest.mark.parametrize("n", [1, 4])
def test_too_few_blocks_decide_nothing(kind: str, n: int) -> None:
    base = [*cell("polling", [100.0] * n), *cell("polling@1", [100.0] * n)]
    what = criterion(kind, 0.5, workload2="idle", metric2="cpu_cores")
    record = judged(what, base, cell("push", [0.1] * n), looks=(n,))
    assert (record.verdict, record.n, record.ci_low) == ("inconclusive", n, None)
    assert record.reason.startswith(f"{n} blocks are too few for a bound at 95.0%: 5 are needed")


def test_an_interval_that_spans_the_target_says_so_in_numbers() -> None:
    values = [0.018, 0.022, 0.019, 0.024, 0.020, 0.021]
    record = judged(
        criterion("limit", 0.020, metric="latency_p50_s"), cell("push", values, metric="latency_p50_s")
    )
    assert record.verdict == "inconclusive"
    assert record.reason.startswith("20.5 ms [19.0, 22.4] ms of 6 blocks spans the target of 20 ms")
    assert record.reason.endswith("--blocks 12")


def test_one_bad_block_no_longer_decides_a_limit() -> None:
    values = [1.0] * 15 + [9.0]
    assert judged(criterion("limit", 3.0), cell("push", values), looks=(16,)).verdict == "pass"


def test_a_count_that_must_be_zero_is_zero_in_every_block() -> None:
    assert judged(criterion("limit"), cell("push", [0.0] * 6)).verdict == "pass"
    assert judged(criterion("limit"), cell("push", [0.0] * 15 + [0.1]), looks=(16,)).verdict == "inconclusive"
    assert judged(criterion("limit"), cell("push", [0.1] * 12)).verdict == "fail"


# in turn


def test_a_criterion_stays_open_until_a_look_decides_it() -> None:
    what = criterion("reduction", 0.8)

    def after(push: list[float]) -> tuple[str, int, set[tuple[str, str]]]:
        cells = cell("polling", [100.0] * len(push)), cell("push", push)
        found = decided(what, *cells, looks=LOOKS, over=False)
        return found.record.verdict, found.more, set(found.needed)

    both = {("push", "idle"), ("polling", "idle")}
    unclear = [10.0, 22.0, 12.0, 14.0, 11.0, 10.0]
    assert after(unclear[:2]) == ("inconclusive", 4, both)
    assert after(unclear) == ("inconclusive", 4, both)
    assert after([*unclear, 10.0]) == ("inconclusive", 3, both)
    assert after([*unclear, 13.0, 10.0, 14.0, 10.0]) == ("pass", 0, set())
    assert after([10.0] * 6) == ("pass", 0, set())
    assert after([10.0, 30.0] * 12) == ("inconclusive", 0, set())  # the looks are used up


def test_what_a_look_has_decided_later_blocks_do_not_undo() -> None:
    assert against("reduction", 0.8, [10.0, 11.0, 10.5] * 2 + [90.0] * 18, LOOKS).verdict == "pass"


def test_only_fresh_blocks_confirm_a_fail() -> None:
    what = criterion("reduction", 0.8)
    bad = [30.0, 32.0, 31.0, 33.0, 30.5, 31.5]

    def after(push: list[float], *, over: bool = False) -> tuple[str, int]:
        cells = cell("polling", [100.0] * len(push)), cell("push", push)
        found = decided(what, *cells, looks=LOOKS, over=over)
        return found.record.verdict, found.more

    assert after(bad) == ("inconclusive", 6)
    assert after([*bad, *bad[:5]]) == ("inconclusive", 1)
    assert after([*bad, *bad]) == ("fail", 0)
    assert against("reduction", 0.8, [*bad, *bad], LOOKS).reason == (
        "68.8 % [67.0, 70.0] % of 6 blocks misses the target of 80 %, and 6 fresh blocks confirm it"
    )
    assert after([*bad, *bad[:5], 10.0]) == ("inconclusive", 4)  # not confirmed: on to the look at 16
    assert after(bad, over=True) == ("inconclusive", 0)


def test_where_the_run_ends_early_the_last_look_takes_what_there_is() -> None:
    assert against("reduction", 0.8, [10.0, 12.0, 11.0, 10.5, 11.5], LOOKS).verdict == "pass"
    cells = cell("polling", [100.0] * 8), cell("push", [10.0, 30.0] * 4)
    record = judged(criterion("reduction", 0.8), *cells, looks=LOOKS, why="the time of 9 s was up")
    assert (record.verdict, record.n) == ("inconclusive", 8)
    assert record.reason.endswith("; the time of 9 s was up")


# blocks that are no samples


def test_a_disturbed_block_counts_for_nobody() -> None:
    for value, verdict in ((1000.0, "pass"), (1.0, "pass")):
        push = cell("push", [10.0] * 7)
        push[2] = cell("push", [value] * 3, disturbance=BUSY)[2]
        record = judged(criterion("reduction", 0.8), cell("polling", [100.0] * 7), push)
        assert (record.verdict, record.n) == (verdict, 6)
        assert record.void == ["push idle: 1 of 7 blocks disturbed by make (42) 0.90 cores"]


def test_a_criterion_without_quiet_blocks_is_contaminated_and_says_by_whom() -> None:
    record = judged(
        criterion("reduction", 0.8), cell("polling", [100.0] * 6), cell("push", [90.0] * 6, disturbance=BUSY)
    )
    assert (record.verdict, record.n) == ("contaminated", 0)
    assert "make (42) 0.90 cores" in record.reason
    assert record.reason.endswith("stop that, or run again when the machine is quiet")


def test_a_failed_block_is_no_sample_and_voids_no_other() -> None:
    push = cell("push", [10.0] * 7)
    push[0] = cell("push", [10.0], status="timeout", reasons=["slow"])[0]
    record = judged(criterion("reduction", 0.8), cell("polling", [100.0] * 7), push)
    assert (record.verdict, record.n) == ("pass", 6)


def test_the_later_attempt_at_a_block_counts() -> None:
    void = cell("push", [90.0] * 6, disturbance=BUSY)
    again = cell("push", [10.0] * 6, attempt=2)
    for push in ([*void, *again], [*again, *void]):
        assert judged(criterion("reduction", 0.8), cell("polling", [100.0] * 6), push).verdict == "pass"


@pytest.mark.parametrize("kind", COMPARED)
def test_what_cannot_run_decides_nothing_and_needs_nothing(kind: str) -> None:
    push = cell("push", [1.0] * 6, status="unsupported", reasons=["no such thing"])
    base = [*cell("polling", [100.0] * 6), *cell("polling@1", [100.0] * 6)]
    what = criterion(kind, 1.0, workload2="idle", metric2="cpu_cores")
    found = decided(what, push, base, over=False)
    assert (found.record.verdict, found.needed) == ("inconclusive", frozenset())
    assert found.record.reason == "push idle unsupported in block 1: no such thing"
    assert judged(what, base).reason == "push did not run idle"


@pytest.mark.parametrize("kind", ["reduction", "ratio"])
def test_a_base_of_zero_decides_nothing(kind: str) -> None:
    polling = cell("polling", [100.0, 100.0, 0.0, 100.0, 100.0, 100.0])
    record = judged(criterion(kind, 0.5), polling, cell("push", [1.0] * 6))
    assert (record.verdict, record.reason) == (
        "inconclusive",
        "polling measured zero: nothing to compare with",
    )


def test_a_metric_that_most_blocks_lack_leaves_it_open() -> None:
    record = judged(criterion("limit", 3.0), cell("push", [1.0] * 6 + [None] * 6))
    assert (record.verdict, record.reason) == (
        "inconclusive",
        "cpu_cores: could not be measured in 6 of 12 blocks",
    )
    assert judged(criterion("limit", 3.0), cell("push", [1.0] * 6 + [None])).verdict == "pass"


def test_silence_must_not_win() -> None:
    what = criterion("reduction", 0.5, valid_if="faults")
    base = [*cell("polling", [100.0] * 6), *cell("push", [1.0] * 6)]
    told = {arm: cell(arm, [1.0], "faults") for arm in ("push", "polling")}
    assert judged(what, base, *told.values()).verdict == "pass"
    assert judged(what, base, told["push"]).reason == "polling did not run faults"
    failed = cell("polling", [1.0], "faults", status="failed", reasons=["no WARNING"])
    record = judged(what, base, told["push"], failed)
    assert (record.verdict, record.reason) == ("inconclusive", "polling faults failed in block 1: no WARNING")


# doubts


def test_a_drift_that_could_overturn_a_pass_contaminates_it() -> None:
    rising = [19.0 + 0.19 * i for i in range(6)]
    record = against("reduction", 0.8, rising)
    assert record.verdict == "contaminated"
    assert record.reason.startswith("one arm drifted while it was measured (autocorrelation 0.")
    assert against("reduction", 0.8, [v / 10 for v in rising]).verdict == "pass"  # far from the target


def lagging(values: Sequence[float], metric: str, lag_s: float) -> list[Observation]:
    cells = cell("push", values, metric=metric)
    for o in cells[:3]:
        o.metrics["lag_p99_s"] = lag_s
    return cells


def test_a_lag_of_a_tenth_of_the_target_voids_the_block() -> None:
    what = criterion("limit", 0.050, metric="latency_p99_s")
    assert judged(what, lagging([0.01] * 6, "latency_p99_s", 0.005)).n == 6
    assert judged(what, lagging([0.01] * 6, "latency_p99_s", 0.0051)).n == 3


def test_a_latency_from_the_intended_time_holds_the_lag_so_that_only_a_fail_is_doubted() -> None:
    what = criterion("limit", 0.050, metric="intended_p99_s")
    assert judged(what, lagging([0.01] * 12, "intended_p99_s", 0.02)).verdict == "pass"
    record = judged(what, lagging([0.09] * 12, "intended_p99_s", 0.02))
    assert record.verdict == "contaminated"
    assert record.reason.startswith("the load generator lagged 20.0 ms at p99 in 3 blocks")


# rates and properties


@pytest.mark.parametrize("noise", ["independent", "one outlier", "drift, rho 0.5"])
def test_at_the_target_few_pass_and_hardly_any_fail(noise: str) -> None:
    verdicts, _ = rates(CASES[noise], 1.0, 200)
    assert verdicts["pass"] <= 20  # 5 % are 10; 20 are beyond 99.9 % of all draws at that rate
    assert verdicts["fail"] <= 3


@pytest.mark.parametrize(("factor", "verdict"), [(0.7, "pass"), (1.4, "fail")])
def test_what_is_clear_is_decided_early(factor: float, verdict: str) -> None:
    verdicts, blocks = rates(CASES["independent"], factor, 100)
    assert verdicts[verdict] >= 95
    assert blocks < 10


@given(st.sampled_from(["reduction", "ratio", "limit"]), samples, st.data(), st.floats(0.01, 3.0))
def test_a_worse_arm_never_passes_where_a_better_one_fails(
    kind: str, push: list[float], data: st.DataObject, target: float
) -> None:
    polling = data.draw(st.lists(positive, min_size=12, max_size=12))
    factor = data.draw(st.floats(1.0, 10.0))
    target = min(target, 0.99) if kind == "reduction" else target

    def verdict(values: list[float]) -> str:
        return judged(criterion(kind, target), cell("polling", polling), cell("push", values)).verdict

    assert (verdict(push), verdict([v * factor for v in push])) != ("fail", "pass")


@given(samples, st.floats(0.01, 0.99), st.floats(0.0, 3.0))
def test_a_larger_centre_of_the_control_never_clears_a_verdict(
    push: list[float], target: float, centre: float
) -> None:
    def verdict(c: float) -> str:
        cells = cell("polling", [100.0] * 12), cell("push", push)
        return judged(criterion("reduction", target), *cells, known=controls(c)).verdict

    small, large = verdict(centre), verdict(2 * centre)
    assert large == small or large == "contaminated"


@given(samples, st.permutations(range(24)))
def test_the_order_of_arrival_decides_nothing(push: list[float], order: list[int]) -> None:
    cells = [*cell("polling", [50.0] * 12), *cell("push", push)]
    shuffled = [cells[i] for i in order]
    assert judged(criterion("reduction", 0.5), cells) == judged(criterion("reduction", 0.5), shuffled)


@given(st.integers(0, 1000), st.integers(6, 30))
def test_more_blocks_never_unmake_a_decision(seed: int, n: int) -> None:
    rng = random.Random(seed)
    push = [20 * math.exp(rng.gauss(-0.1, 0.2)) for _ in range(30)]

    def after(count: int) -> str:
        cells = cell("polling", [100.0] * count), cell("push", push[:count])
        found = decided(criterion("reduction", 0.8), *cells, looks=LOOKS, over=False)
        return "" if found.needed else found.record.verdict

    early = after(n)
    assert not early or after(30) == early
