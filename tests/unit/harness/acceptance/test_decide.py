import math
from collections.abc import Mapping, Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.acceptance.criteria import KINDS, Criterion
from harness.acceptance.estimate import LAG_LIMIT_S, decide
from harness.acceptance.samples import Samples
from harness.records.schema import CriterionRecord, Observation
from tests.unit.harness.acceptance.cells import cell, controls, criterion, judged

BETTER = ["fail", "inconclusive", "contaminated", "pass"]
"""Verdicts from the worst."""

positive = st.floats(0.01, 100.0)
fives = st.lists(positive, min_size=5, max_size=8)


def against(
    kind: str, target: float, push: Sequence[float | None], spread: float | None = 0.0
) -> CriterionRecord:
    """Decide ``push`` against a base of 100 in the same blocks."""
    polling = cell("polling", [100.0] * len(push))
    return judged(criterion(kind, target), polling, cell("push", push), known=controls(spread))


# reduction and ratio


@pytest.mark.parametrize(
    ("kind", "target", "push", "verdict"),
    [
        ("reduction", 0.8, [10, 12, 14, 16, 20], "pass"),  # the worst of five is exactly at the target
        ("reduction", 0.8, [10, 12, 14, 16, 20.001], "inconclusive"),
        ("reduction", 0.8, [20.001, 25, 30, 35, 40], "fail"),
        ("reduction", 0.8, [20, 25, 30, 35, 40], "inconclusive"),
        ("reduction", 0.95, [0, 0, 0, 0, 0], "pass"),
        ("reduction", 0.0, [150, 150, 150, 150, 150], "fail"),
        ("ratio", 3.0, [100, 150, 200, 250, 299], "pass"),
        ("ratio", 3.0, [100, 150, 200, 250, 301], "inconclusive"),
        ("ratio", 3.0, [301, 310, 320, 330, 340], "fail"),
    ],
)
def test_a_comparison_is_decided_on_the_bound_of_its_interval(
    kind: str, target: float, push: list[float], verdict: str
) -> None:
    record = against(kind, target, push)
    assert (record.verdict, record.n) == (verdict, 5)


@pytest.mark.parametrize(
    ("kind", "target", "value", "verdict"),
    [
        ("reduction", 0.5, 50.0, "pass"),
        ("reduction", 0.5, 50.5, "fail"),
        ("reduction", 0.3, 70.0, "pass"),
        ("ratio", 0.5, 50.0, "pass"),
        ("ratio", 0.49, 50.0, "fail"),
        ("limit", 50.0, 50.0, "pass"),
        ("limit", 49.0, 50.0, "fail"),
        ("at_least", 50.0, 50.0, "pass"),
        ("at_least", 51.0, 50.0, "fail"),
    ],
)
def test_identical_samples_are_decided_at_the_target_itself(
    kind: str, target: float, value: float, verdict: str
) -> None:
    record = against(kind, target, [value] * 5)
    assert record.verdict == verdict
    assert record.ci_low == record.ci_high == record.value


@pytest.mark.parametrize("kind", ["reduction", "ratio", "frontier"])
def test_fewer_than_five_blocks_bound_nothing(kind: str) -> None:
    base = [*cell("polling", [100.0] * 4), *cell("polling@1", [100.0] * 4)]
    record = judged(criterion(kind, workload2="idle", metric2="cpu_cores"), base, cell("push", [1.0] * 4))
    assert record.verdict == "inconclusive"
    assert record.reason.startswith("4 blocks are too few for a bound at 95%: 5 are needed")
    assert (record.ci_low, record.ci_high, record.n) == (None, None, 4)
    assert record.value == pytest.approx(0.01 if kind == "ratio" else 0.99)


def test_more_confidence_needs_more_blocks() -> None:
    samples = Samples([*cell("polling", [100.0] * 6), *cell("push", [1.0] * 6)])
    record = decide(criterion("reduction", 0.8), samples, {}, mode="memory", confidence=0.99)
    assert record.reason == "6 blocks are too few for a bound at 99%: 7 are needed"


@pytest.mark.parametrize("kind", ["reduction", "ratio"])
def test_a_base_of_zero_in_any_block_decides_nothing(kind: str) -> None:
    polling = cell("polling", [100.0, 100.0, 0.0, 100.0, 100.0])
    record = judged(criterion(kind, 0.5), polling, cell("push", [1.0] * 5))
    assert (record.verdict, record.value, record.n) == ("inconclusive", None, 5)
    assert record.reason == "polling measured zero: nothing to compare with"


def test_a_ratio_of_zero_is_below_the_resolution() -> None:
    record = against("ratio", 3.0, [1.0, 1.0, 0.0, 1.0, 1.0])
    assert (record.verdict, record.n) == ("inconclusive", 5)
    assert "push measured zero" in record.reason


def test_only_blocks_with_both_arms_count() -> None:
    polling = cell("polling", [100.0] * 5 + [None, None])
    record = judged(criterion("reduction", 0.8), polling, cell("push", [1.0] * 7))
    assert (record.verdict, record.n) == ("pass", 5)
    none = judged(criterion("reduction", 0.8), cell("polling", [None] * 5), cell("push", [1.0] * 5))
    assert (none.verdict, none.reason) == ("inconclusive", "no block has cpu_cores of both arms")


def test_the_other_side_may_run_another_workload() -> None:
    what = criterion("ratio", 3.0, against="floors", against_workload="hop")
    record = judged(what, cell("floors", [1.0] * 5, "hop"), cell("push", [2.5] * 5))
    assert (record.verdict, record.value, record.unit) == ("pass", pytest.approx(2.5), "times")


# limits


@pytest.mark.parametrize(
    ("kind", "values", "verdict"),
    [
        ("limit", [1.0, 2.0, 3.0], "pass"),
        ("limit", [1.0, 2.0, 3.5], "inconclusive"),
        ("limit", [3.5, 4.0, 5.0], "fail"),
        ("at_least", [3.0, 4.0, 5.0], "pass"),
        ("at_least", [2.5, 4.0, 5.0], "inconclusive"),
        ("at_least", [1.0, 2.0, 2.5], "fail"),
    ],
)
def test_a_limit_is_decided_on_the_worst_block(kind: str, values: list[float], verdict: str) -> None:
    record = judged(criterion(kind, 3.0), cell("push", values))
    assert (record.verdict, record.n) == (verdict, 3)
    assert (record.value, record.ci_low, record.ci_high) == (values[1], values[0], values[2])
    assert record.unit == "cores"


def test_a_limit_of_zero_holds_only_without_any() -> None:
    assert judged(criterion("limit"), cell("push", [0.0, 0.0])).verdict == "pass"
    assert judged(criterion("limit"), cell("push", [0.0, 0.1])).verdict == "inconclusive"
    assert judged(criterion("limit"), cell("push", [0.1])).verdict == "fail"


@pytest.mark.parametrize("kind", ["limit", "at_least"])
def test_a_block_without_the_metric_leaves_a_limit_open(kind: str) -> None:
    record = judged(criterion(kind, 3.0), cell("push", [3.0, None, 3.0]))
    assert (record.verdict, record.n) == ("inconclusive", 2)
    assert record.reason == "cpu_cores: could not be measured in 1 of 3 blocks"


# the A/A control


@pytest.mark.parametrize(
    ("kind", "target", "value", "just_held"),
    [
        ("reduction", 0.5, 25.0, math.log(2)),  # 1 - 0.25 x 2 is 0.5
        ("ratio", 0.5, 25.0, math.log(2)),
        ("limit", 50.0, 25.0, math.log(2)),
        ("at_least", 12.5, 25.0, math.log(2)),
    ],
)
def test_a_pass_that_the_control_could_overturn_is_contaminated(
    kind: str, target: float, value: float, just_held: float
) -> None:
    def verdict(spread: float | None) -> str:
        return against(kind, target, [value] * 5, spread).verdict

    assert verdict(0.0) == verdict(just_held) == verdict(just_held - 1e-9) == "pass"
    assert verdict(just_held + 1e-9) == "contaminated"


@pytest.mark.parametrize("kind", ["reduction", "ratio"])
def test_a_control_that_cannot_be_told_lets_nothing_pass(kind: str) -> None:
    record = against(kind, 0.5, [25.0] * 5, None)
    assert record.verdict == "contaminated"
    assert record.reason == "one of two runs of push measured zero cpu_cores: their spread cannot be told"


@pytest.mark.parametrize(("kind", "value"), [("limit", 4.0), ("at_least", 6.0)])
def test_limits_bear_the_difference_where_the_ratio_cannot_be_told(kind: str, value: float) -> None:
    def verdict(difference: float) -> str:
        known = controls(None, difference=difference)
        return judged(criterion(kind, 5.0), cell("push", [value] * 5), known=known).verdict

    assert verdict(1.0) == "pass"
    assert verdict(1.1) == "contaminated"


def test_a_control_of_another_arm_or_without_pairs_overturns_nothing() -> None:
    cells = [cell("polling", [100.0] * 5), cell("push_asyncio", [45.0] * 5)]
    what = criterion("reduction", 0.5, arm="push_asyncio")
    assert judged(what, *cells, known=controls(9.0)).verdict == "pass"
    empty = {key: msgspec.structs.replace(known, n=0) for key, known in controls(None).items()}
    push = [cells[0], cell("push", [45.0] * 5)]
    assert judged(criterion("reduction", 0.5), *push, known=empty).verdict == "pass"


def test_the_control_says_how_far_apart_its_runs_lay() -> None:
    record = against("limit", 30.0, [25.0] * 5, math.log(1.5))
    assert record.reason.startswith("two runs of the same arm lay a factor 1.50 apart")


def test_a_fail_stays_a_fail_whatever_the_control() -> None:
    assert against("reduction", 0.8, [90.0] * 5, 10.0).verdict == "fail"


def test_the_control_of_another_metric_overturns_nothing() -> None:
    other = controls(10.0, metric="latency_p50_s")
    assert judged(criterion("limit", 1.0), cell("push", [1.0]), known=other).verdict == "pass"


# cells that cannot be used


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("status", ["failed", "timeout", "unsupported"])
def test_a_cell_that_did_not_end_well_in_one_block_decides_nothing(kind: str, status: str) -> None:
    broken = cell("push", [1.0], status=status, reasons=["it broke"], texts={"cpu_cores": "a"})
    fine = cell("push", [1.0] * 6, texts={"cpu_cores": "a"})[1:]
    base = cell("polling", [100.0] * 6, texts={"cpu_cores": "a"}) + cell("polling@1", [100.0] * 6)
    what = criterion(kind, 1.0, workload2="idle", metric2="cpu_cores")
    record = judged(what, broken, fine, base if kind != "equal" else base[:6])
    assert (record.verdict, record.value) == ("inconclusive", None)
    assert record.reason == f"push idle {status} in block 1: it broke"


@pytest.mark.parametrize("kind", ["reduction", "ratio", "limit", "at_least", "frontier"])
def test_an_arm_that_did_not_run_decides_nothing(kind: str) -> None:
    record = judged(criterion(kind, 1.0, workload2="idle"), cell("polling", [1.0] * 5))
    assert (record.verdict, record.reason) == ("inconclusive", "push did not run idle")
    assert record.unit == {"limit": "cores", "at_least": "cores", "ratio": "times"}.get(kind, "share saved")


def test_a_base_that_did_not_run_decides_nothing() -> None:
    record = judged(criterion("reduction", 0.5), cell("push", [1.0] * 5))
    assert (record.verdict, record.reason) == ("inconclusive", "polling did not run idle")


@pytest.mark.parametrize("late", ["push", "polling"])
def test_a_late_load_generator_voids_the_cell(late: str) -> None:
    def verdict(lag_s: float | None) -> CriterionRecord:
        cells = {arm: cell(arm, [100.0 if arm == "polling" else 1.0] * 5) for arm in ("push", "polling")}
        cells[late][1].metrics["lag_p99_s"] = 0.001
        cells[late][3].metrics["lag_p99_s"] = lag_s
        return judged(criterion("reduction", 0.5), *cells.values())

    assert verdict(None).verdict == verdict(LAG_LIMIT_S).verdict == "pass"
    record = verdict(0.0123)
    assert record.verdict == "inconclusive"
    assert record.reason == f"the load generator of {late} idle lagged 12.3 ms at p99"


# silence must not win


@pytest.mark.parametrize("silent", ["push", "polling"])
def test_a_log_criterion_needs_both_arms_to_report_faults(silent: str) -> None:
    what = criterion("reduction", 0.5, valid_if="faults")
    base = [*cell("polling", [100.0] * 5), *cell("push", [1.0] * 5)]

    def verdict(*faults: list[Observation]) -> CriterionRecord:
        return judged(what, base, *faults)

    told = {arm: cell(arm, [1.0], "faults") for arm in ("push", "polling")}
    assert verdict(*told.values()).verdict == "pass"
    missing = verdict(*(group for arm, group in told.items() if arm != silent))
    assert (missing.verdict, missing.reason) == ("inconclusive", f"{silent} did not run faults")
    told[silent] = cell(silent, [1.0], "faults", status="failed", reasons=["no WARNING"])
    record = verdict(*told.values())
    assert record.verdict == "inconclusive"
    assert record.reason == f"{silent} faults failed in block 1: no WARNING"


def test_a_limit_on_logs_needs_only_its_own_arm_to_report_faults() -> None:
    what = criterion("limit", 1.0, valid_if="faults")
    quiet = cell("push", [0.0])
    assert judged(what, quiet, cell("push", [1.0], "faults")).verdict == "pass"
    assert judged(what, quiet).verdict == "inconclusive"


# equal


def equal(texts: Mapping[str, str | None]) -> CriterionRecord:
    what = Criterion("id", "title", "equal", "digits", "model_digest")
    cells = [
        cell(arm, [1.0] * 2, "digits", texts={} if text is None else {"model_digest": text})
        for arm, text in texts.items()
    ]
    return judged(what, *cells)


def test_equal_needs_one_text_in_all_arms_and_blocks() -> None:
    record = equal({"push": "a", "polling": "a", "push_asyncio": "a"})
    assert (record.verdict, record.value, record.target, record.n) == ("pass", 1.0, 1.0, 2)  # blocks
    assert record.unit == "distinct"
    record = equal({"push": "a", "polling": "b"})
    assert (record.verdict, record.value, record.n) == ("fail", 2.0, 2)
    assert record.reason == "2 different in 4 observations"


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        ({}, "fewer than two arms ran digits"),
        ({"push": "a"}, "fewer than two arms ran digits"),
        ({"push": "a", "polling": None}, "2 of 4 observations lack model_digest"),
    ],
)
def test_equal_decides_nothing_on_one_text_alone(texts: dict[str, str | None], reason: str) -> None:
    record = equal(texts)
    assert (record.verdict, record.reason) == ("inconclusive", reason)


# properties


@given(st.lists(st.tuples(positive, positive), min_size=5, max_size=5), st.floats(-0.5, 0.99))
def test_of_five_pairs_the_worst_decides_a_reduction(pairs: list[tuple[float, float]], target: float) -> None:
    base, push = [b for b, _ in pairs], [p for _, p in pairs]
    record = judged(criterion("reduction", target), cell("polling", base), cell("push", push))
    saved = [1 - p / b for b, p in pairs]
    assert (record.verdict == "pass") == (min(saved) >= target)
    assert (record.verdict == "fail") == (max(saved) < target)


@given(
    st.sampled_from(["reduction", "ratio", "limit"]),
    fives,
    st.data(),
    st.floats(0.01, 3.0),
    st.floats(0.0, 2.0),
)
def test_a_worse_arm_never_gets_a_better_verdict(
    kind: str, push: list[float], data: st.DataObject, target: float, spread: float
) -> None:
    size = len(push)
    polling = data.draw(st.lists(positive, min_size=size, max_size=size))
    factors = data.draw(st.lists(st.floats(1.0, 10.0), min_size=size, max_size=size))
    worse = [value * factor for value, factor in zip(push, factors, strict=True)]
    target = min(target, 0.99) if kind == "reduction" else target

    def verdict(values: list[float]) -> int:
        record = judged(
            criterion(kind, target), cell("polling", polling), cell("push", values), known=controls(spread)
        )
        return BETTER.index(record.verdict)

    assert verdict(worse) <= verdict(push)


@given(fives, st.floats(0.01, 0.99), st.floats(0.0, 3.0))
def test_a_wider_control_never_gives_a_better_verdict(
    push: list[float], target: float, spread: float
) -> None:
    tight, wide = (against("reduction", target, push, s).verdict for s in (spread, spread * 2))
    assert BETTER.index(wide) <= BETTER.index(tight)


@given(fives, st.permutations(range(5)))
def test_the_order_of_observations_decides_nothing(push: list[float], order: list[int]) -> None:
    cells = [*cell("polling", [50.0] * 5), *cell("push", push[:5])]
    shuffled = [cells[i] for i in order] + [cells[5 + i] for i in order]
    assert judged(criterion("reduction", 0.5), cells) == judged(criterion("reduction", 0.5), shuffled)
