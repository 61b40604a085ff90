"""Many metrics together, and what must not change their verdicts."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.regression.changes import compare, key_of, screened, too_few
from harness.regression.margins import Margin
from harness.regression.verdict import Key, Sides
from tests.unit.harness.regression.made import KEY, MARGINS, sides


def test_it_is_told_what_could_never_pass() -> None:
    """Ten pairs reach 1/1024: that is enough among 51 metrics, not among 52."""
    for count, there in ((51, 0), (52, 52)):
        samples = {KEY._replace(arm=str(number)): sides(1.5) for number in range(count)}
        assert len(too_few(samples)) == there
    samples = {KEY: sides(n=5), KEY._replace(arm="same"): Sides([1.0] * 3, [1.0] * 3)}
    assert too_few(samples) == []  # what is identical is none of the family
    assert too_few({KEY: Sides([1.0], [2.0] * 18, paired=False)}) == [KEY]
    assert too_few({KEY: Sides([1.0], [2.0] * 19, paired=False)}) == []


def test_many_metrics_are_held_to_one_error_rate() -> None:
    """Five pairs can say 1/32 at best: enough for one metric, not for two."""
    alone = compare({KEY: sides(2.0, n=5)}, MARGINS)
    two = compare({KEY: sides(2.0, n=5), KEY._replace(arm="other"): sides(1.0, n=5)}, MARGINS)
    assert [change.verdict for change in alone] == ["regressed"]
    assert [change.verdict for change in two] == ["inconclusive", "unchanged"]
    assert two[0].p == 2 / 32
    assert two[0].reason == "beyond the margin, but not sure among so many metrics: p = 0.062"
    assert compare({KEY: sides(2.0)}, MARGINS, alpha=1 / 2048)[0].verdict == "inconclusive"


def test_a_first_batch_screens_each_metric_by_itself() -> None:
    """What a fresh batch will test again need not be sure among all of them."""
    samples = {KEY._replace(arm=str(number)): sides(2.0 if number == 7 else 1.0) for number in range(60)}
    assert {change.verdict for change in compare(samples, MARGINS)} == {"unchanged", "inconclusive"}
    found = screened(samples, MARGINS)
    assert [key_of(c).arm for c in found if c.verdict == "regressed"] == ["7"]
    assert too_few({KEY: sides(n=6)}, alpha=0.01, together=False) == [KEY]
    assert too_few({KEY._replace(arm=a): sides(n=7) for a in "abc"}, alpha=0.01, together=False) == []


def test_the_order_is_kept_and_what_has_no_margin_is_left_out() -> None:
    keys = [KEY._replace(arm=arm) for arm in "cab"]
    samples = {key: sides() for key in [*keys, KEY._replace(metric="latency_max_s")]}
    assert [key_of(change) for change in compare(samples, MARGINS)] == keys
    assert compare({}, MARGINS) == []


# Properties ---------------------------------------------------------------------------------------

MIRROR = {"regressed": "improved", "improved": "regressed"}


@st.composite
def several(draw) -> dict[Key, Sides]:
    """A few metrics of random samples, changed by up to a factor 2, some with zeros or drift."""
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
        samples = Sides(base.tolist(), candidate.tolist(), paired, draw(st.sampled_from([None, 0.3])))
        if draw(st.booleans()):
            samples = samples._replace(drift=0.2)
        elif draw(st.booleans()):
            samples = samples._replace(control=[(1.0, draw(st.sampled_from([1.0, 1.2])))] * n)
        found[Key(f"arm{number}", "w", metric)] = samples
    return found


@settings(max_examples=60)
@given(several())
def test_swapping_base_and_candidate_mirrors_the_verdict(samples: dict[Key, Sides]) -> None:
    swapped = {key: s._replace(base=s.candidate, candidate=s.base) for key, s in samples.items()}
    for there, back in zip(compare(samples, MARGINS), compare(swapped, MARGINS), strict=True):
        if there.ratio is None:
            continue  # a share of the base is not one of the candidate
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
        key: s._replace(
            base=[scale * v for v in s.base],
            candidate=[scale * v for v in s.candidate],
            control=s.control and [(scale * a, scale * b) for a, b in s.control],
        )
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
        assert change.detectable is None or change.detectable >= change.margin - 1e-12
        if change.verdict == "regressed":
            assert low > margin - 1e-12
        elif change.verdict == "improved":
            assert high < -margin + 1e-12
        elif change.verdict == "unchanged":
            assert -margin - 1e-12 < low <= high < margin + 1e-12
