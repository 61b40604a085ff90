"""Every verdict of a comparison, and what must not change it."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.gate.compare import Key, Sides, compare, confirmed, key_of, suspected
from harness.gate.margins import Margin
from harness.records.schema import Change

KEY = Key("push", "rpc_ping", "latency_p50_s")
MARGINS = {
    "latency_p50_s": Margin(0.10, 5e-6),
    "log_records_per_op": Margin(0.01, 0.01),
    "accuracy": Margin(0.10, 0.001),  # higher is better
}
SPREAD = (1.00, 1.02, 0.99, 1.01, 0.98, 1.03, 1.00, 0.97, 1.015, 1.005)
"""Ten blocks of one version, as shares of their middle."""

PAIRED = pytest.mark.parametrize("paired", [True, False])


def sides(factor: float = 1.0, base: float = 1e-3, n: int = 10, **more: object) -> Sides:
    """Samples whose candidate is ``factor`` times the base, each side with its own noise."""
    before = [base * share for share in SPREAD[:n]]
    after = [base * factor * share for share in SPREAD[n - 1 :: -1]]
    return Sides(before, after, **more)


def one(samples: Sides, key: Key = KEY, **options: float) -> Change:
    (change,) = compare({key: samples}, MARGINS, **options)
    return change


@PAIRED
@pytest.mark.parametrize(
    ("factor", "verdict"),
    [(1.5, "regressed"), (1.0, "unchanged"), (1.03, "unchanged"), (1.09, "inconclusive"),
     (1.11, "inconclusive"), (0.92, "inconclusive"), (0.6, "improved")],
)  # fmt: skip
def test_the_verdict_follows_the_interval_and_the_margin(paired: bool, factor: float, verdict: str) -> None:
    change = one(sides(factor, paired=paired))
    assert change.verdict == verdict
    assert change.ratio == pytest.approx(factor, rel=0.01)
    assert change.ci_low < change.ratio < change.ci_high
    assert (change.unit, change.direction, change.n, change.margin) == ("s", "lower", 10, 0.10)
    assert key_of(change) == KEY


def test_values_are_medians_and_the_reason_tells_the_p_value() -> None:
    change = one(sides(2.0))
    assert change.base == pytest.approx(1.0025e-3)
    assert change.candidate == pytest.approx(2.005e-3)
    assert change.p == 1 / 1024
    assert change.reason == "beyond the margin, p = 0.00098 (Holm)"


def test_the_margin_counts_for_the_bound_not_for_the_estimate() -> None:
    """All of ten lie above the margin: then, and only then, is the smallest p-value reached."""
    base = [1e-3] * 10
    assert one(Sides(base, [1.1001e-3] * 10)).verdict == "regressed"
    assert one(Sides(base, [1.0999e-3] * 10)).verdict == "unchanged"
    assert one(Sides(base, [1.2e-3] * 5 + [1.05e-3] * 5)).verdict == "inconclusive"


@PAIRED
def test_for_some_metrics_more_is_better(paired: bool) -> None:
    key = Key("push", "digits", "accuracy")
    worse, better = (one(sides(factor, 0.4, paired=paired), key) for factor in (0.7, 1.4))
    assert (worse.verdict, better.verdict) == ("regressed", "improved")
    assert worse.direction == "higher"
    assert worse.ratio == pytest.approx(0.7, rel=0.01)
    assert worse.ci_low < 0.7 < worse.ci_high < 0.9
    assert better.ci_low > 1.1


@PAIRED
@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_below_the_absolute_floor_nothing_is_said(paired: bool, factor: float) -> None:
    change = one(sides(factor, base=4e-6, paired=paired))
    assert (change.verdict, change.reason) == ("unchanged", "the difference is within 5e-06 s")


@PAIRED
@pytest.mark.parametrize(
    ("base", "candidate", "verdict"),
    [
        ([0.0] * 8, [0.5] * 8, "regressed"),
        ([0.5] * 8, [0.0] * 8, "improved"),
        ([0.0] * 8, [0.0] * 8, "unchanged"),
        ([0.0] * 8, [0.005] * 8, "unchanged"),
        ([0.0] * 8, [0.0] * 3 + [0.5] * 5, "inconclusive"),
        ([-1.0] * 8, [1.0] * 8, "regressed"),
    ],
)
def test_where_a_sample_is_zero_differences_are_compared(
    paired: bool, base: list[float], candidate: list[float], verdict: str
) -> None:
    change = one(Sides(base, candidate, paired), Key("push", "idle", "log_records_per_op"))
    assert change.verdict == verdict
    assert (change.ratio, change.ci_low, change.ci_high, change.margin) == (None, None, None, 0.01)


@pytest.mark.parametrize(
    ("n", "paired", "verdict"),
    [(4, True, "inconclusive"), (5, True, "regressed"), (2, False, "inconclusive"), (3, False, "regressed")],
)
def test_too_few_samples_have_no_bound_and_no_verdict(n: int, paired: bool, verdict: str) -> None:
    change = one(sides(2.0, n=n, paired=paired))
    assert change.verdict == verdict
    if verdict == "inconclusive":
        assert change.reason == f"{n} samples are too few for a bound"
        assert (change.ci_low, change.ci_high) == (None, None)


def test_sides_of_stored_runs_may_differ_in_length() -> None:
    change = one(Sides([1e-3] * 20, [2e-3] * 3, paired=False))
    assert (change.verdict, change.n) == ("regressed", 3)
    with pytest.raises(ValueError, match="shorter"):
        one(Sides([1e-3] * 20, [2e-3] * 3, paired=True))


@PAIRED
@pytest.mark.parametrize(("factor", "verdict"), [(1.5, "regressed"), (0.6, "improved")])
def test_what_drift_could_explain_is_contaminated(paired: bool, factor: float, verdict: str) -> None:
    lasting = one(sides(factor, paired=paired, drift=math.log(1.15)))
    assert lasting.verdict == verdict
    explained = one(sides(factor, paired=paired, drift=math.log(1.5)))
    assert explained.verdict == "contaminated"
    assert explained.reason == "the same code lay a factor 1.50 apart: that could explain it"


def test_drift_makes_nothing_of_what_is_unchanged_or_counted() -> None:
    assert one(sides(1.0, drift=5.0)).verdict == "unchanged"
    key = Key("push", "idle", "log_records_per_op")
    assert one(Sides([0.0] * 8, [0.5] * 8, drift=5.0), key).verdict == "regressed"


def test_many_metrics_are_held_to_one_error_rate() -> None:
    """Five pairs can say 1/32 at best: enough for one metric, not for two."""
    alone = compare({KEY: sides(2.0, n=5)}, MARGINS)
    two = compare({KEY: sides(2.0, n=5), KEY._replace(arm="other"): sides(1.0, n=5)}, MARGINS)
    assert [change.verdict for change in alone] == ["regressed"]
    assert [change.verdict for change in two] == ["inconclusive", "unchanged"]
    assert two[0].p == 2 / 32
    assert two[0].reason == "beyond the margin, but not sure among so many metrics: p = 0.062 (Holm)"
    assert compare({KEY: sides(2.0)}, MARGINS, alpha=1 / 2048)[0].verdict == "inconclusive"


def test_the_order_is_kept_and_what_has_no_margin_is_left_out() -> None:
    keys = [KEY._replace(arm=arm) for arm in "cab"]
    samples = {key: sides() for key in [*keys, KEY._replace(metric="latency_max_s")]}
    assert [key_of(change) for change in compare(samples, MARGINS)] == keys
    assert compare({}, MARGINS) == []


@pytest.mark.parametrize(
    ("again", "verdict", "said"),
    [
        (2.0, "regressed", "; a fresh batch says the same"),
        (1.0, "inconclusive", "regressed in one batch, and a fresh one says unchanged"),
        (0.5, "inconclusive", "regressed in one batch, and a fresh one says improved"),
        (None, "inconclusive", "regressed in one batch, and a fresh one did not measure it"),
    ],
)
def test_a_suspicion_counts_when_a_fresh_batch_shares_it(
    again: float | None, verdict: str, said: str
) -> None:
    first = compare({KEY: sides(2.0), KEY._replace(arm="other"): sides(1.0)}, MARGINS)
    second = {} if again is None else {KEY: sides(again)}
    assert [change.verdict for change in suspected(first)] == ["regressed"]
    changed, same = confirmed(first, second, MARGINS)
    assert changed.verdict == verdict
    assert changed.reason.endswith(said)
    assert same == first[1]


def test_a_fresh_batch_finds_nothing_by_itself() -> None:
    (change,) = confirmed(compare({KEY: sides(1.0)}, MARGINS), {KEY: sides(2.0)}, MARGINS)
    assert change.verdict == "unchanged"


# Properties ---------------------------------------------------------------------------------------

MIRROR = {"regressed": "improved", "improved": "regressed"}


@st.composite
def several(draw) -> dict[Key, Sides]:
    """A few metrics of random samples, changed by up to a factor 2, some with zeros, some with drift."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    paired, zeros = draw(st.booleans()), draw(st.booleans())
    found = {}
    for number in range(draw(st.integers(1, 4))):
        n = draw(st.integers(1, 12))
        base = rng.lognormal(0, 0.05, n)
        candidate = rng.lognormal(draw(st.sampled_from([-0.7, -0.2, 0.0, 0.1, 0.2, 0.7])), 0.05, n)
        if zeros:
            base[0] = candidate[-1] = 0
        metric = draw(st.sampled_from(sorted(MARGINS)))
        drift = draw(st.sampled_from([None, 0.1, 0.5]))
        found[Key(f"arm{number}", "w", metric)] = Sides(base.tolist(), candidate.tolist(), paired, drift)
    return found


@settings(max_examples=60)
@given(several())
def test_swapping_base_and_candidate_mirrors_the_verdict(samples: dict[Key, Sides]) -> None:
    swapped = {key: s._replace(base=s.candidate, candidate=s.base) for key, s in samples.items()}
    for there, back in zip(compare(samples, MARGINS), compare(swapped, MARGINS), strict=True):
        assert back.verdict == MIRROR.get(there.verdict, there.verdict)
        assert back.p == pytest.approx(there.p)
        assert (back.base, back.candidate) == (there.candidate, there.base)
        if there.ratio is not None:
            assert back.ratio == pytest.approx(1 / there.ratio)
        if there.ci_low is not None:
            assert (back.ci_low, back.ci_high) == pytest.approx((1 / there.ci_high, 1 / there.ci_low))


@settings(max_examples=60)
@given(several(), st.sampled_from([1e-6, 0.3, 7.0, 1e9]))
def test_the_scale_means_nothing(samples: dict[Key, Sides], scale: float) -> None:
    scaled = {
        key: s._replace(base=[scale * v for v in s.base], candidate=[scale * v for v in s.candidate])
        for key, s in samples.items()
    }
    margins = {name: Margin(margin.share, margin.floor * scale) for name, margin in MARGINS.items()}
    for small, large in zip(compare(samples, MARGINS), compare(scaled, margins), strict=True):
        assert large.verdict == small.verdict
        assert large.p == pytest.approx(small.p)
        assert large.ratio == (None if small.ratio is None else pytest.approx(small.ratio))


@settings(max_examples=60)
@given(several())
def test_a_verdict_never_contradicts_its_interval(samples: dict[Key, Sides]) -> None:
    for change in compare(samples, MARGINS):
        if change.ratio is None or "the difference is within" in change.reason:
            continue
        low, high = (math.log(r) if r is not None else None for r in (change.ci_low, change.ci_high))
        if change.direction == "higher" and low is not None:
            low, high = -high, -low
        margin = math.log1p(change.margin)
        if change.verdict == "regressed":
            assert low > margin - 1e-12
        elif change.verdict == "improved":
            assert high < -margin + 1e-12
        elif change.verdict == "unchanged":
            assert -margin - 1e-12 < low <= high < margin + 1e-12


def test_a_single_zero_does_not_turn_a_trifle_into_a_change() -> None:
    base = [0.001 * (1 + n / 1000) for n in range(20)]
    trifle = [0.0, *(value * 1.03 for value in base[1:])]
    doubled = [0.0, *(value * 2 for value in base[1:])]
    for paired in (True, False):
        (change,) = compare({KEY: Sides(base, trifle, paired)}, MARGINS)
        assert change.verdict != "regressed"
        (change,) = compare({KEY: Sides(base, doubled, paired)}, MARGINS)
        assert change.verdict == "regressed"
