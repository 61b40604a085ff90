import msgspec
import pytest

from harness.report.plots_criteria import LOOKS, criteria, ratios
from harness.report.svg import BLUE
from tests.fakes.results import CRITERIA, bare_run, fake_observations, fake_run


def with_(criterion, **changes):
    return msgspec.structs.replace(next(c for c in CRITERIA if c.id == criterion), **changes)


def test_every_criterion_with_a_value_is_a_row():
    svg = criteria(fake_run(), [])
    shown = {c.id for c in CRITERIA if f">{c.id}<" in svg}
    assert shown == {c.id for c in CRITERIA} - {"broadcast-p99", "model"}
    assert "99.18 % (≥ 80 %)" in svg


def test_each_verdict_has_a_colour_and_a_marker_of_its_own():
    assert len({colour for colour, _ in LOOKS.values()}) == len({marker for _, marker in LOOKS.values()}) == 4
    svg = criteria(fake_run(), [])
    for verdict in {c.verdict for c in CRITERIA}:
        assert f">{verdict}<" in svg
        assert LOOKS[verdict][0] in svg
    assert ">contaminated<" not in criteria(bare_run(criteria=[with_("cpu-idle")]), [])


@pytest.mark.parametrize(
    "changes",
    [
        {"value": 1.0, "ci_low": 1.0, "ci_high": 1.0},
        {"value": -0.5, "ci_low": None, "ci_high": None},
        {"value": 1.0, "ci_low": 0.2, "ci_high": None},
    ],
)
def test_values_that_a_logarithm_has_not_are_drawn(changes):
    assert ">cpu-idle<" in criteria(bare_run(criteria=[with_("cpu-idle", **changes)]), [])


def test_a_value_without_an_interval_is_hollow():
    bounded = criteria(bare_run(criteria=[with_("cpu-idle")]), [])
    open_ended = criteria(bare_run(criteria=[with_("cpu-idle", ci_high=None)]), [])
    assert ("fill-opacity: 0" in open_ended, "fill-opacity: 0" in bounded) == (True, False)


def test_an_at_least_of_nothing_is_as_far_off_as_the_plot_goes():
    nothing = with_("accuracy", value=0.0, ci_low=0.0, ci_high=0.0, verdict="fail")
    svg = criteria(bare_run(criteria=[nothing, with_("cpu-idle")]), [])
    assert ">accuracy<" in svg
    assert "nan" not in svg
    assert "inf" not in svg


def test_what_cannot_be_put_in_proportion_is_left_out():
    assert criteria(bare_run(criteria=[with_("rpc-p99", target=0.0)]), []) is None
    assert criteria(bare_run(criteria=[with_("cpu-idle", target=1.0)]), []) is None


def test_every_reduction_and_ratio_has_a_strip_of_its_blocks():
    svg = ratios(fake_run(), fake_observations())
    shown = {c.id for c in CRITERIA if f">{c.id}<" in svg}
    assert shown == {c.id for c in CRITERIA if c.kind in ("reduction", "ratio")}
    assert ">push_asyncio ÷ push<" in svg
    # Of cpu-round, latency-rpc, memory, round-asyncio and cpu-idle a point each block, of logs-idle an arrow.
    assert svg.count(BLUE) >= 6 * 5


def test_a_criterion_without_pairs_has_no_strip():
    assert ratios(fake_run(), []) is None
    zero = [o for o in fake_observations() if o.workload == "idle_federation"]
    only = bare_run(criteria=[with_("logs-idle", arm="polling", against="push")])
    assert ratios(only, zero) is None


def test_the_estimate_stands_with_its_bounds_beside_the_blocks():
    ratio = with_("round-asyncio")
    marks = [ratios(bare_run(criteria=[c]), fake_observations()).count("<use ") for c in (
        ratio,
        msgspec.structs.replace(ratio, value=None, ci_low=None, ci_high=None),
    )]  # fmt: skip
    assert marks[0] == marks[1] + 1
