import msgspec
import numpy as np
import pytest

from harness.report.plots_latency import _curve, latency
from harness.report.svg import BLUE, GREY, RED
from harness.stats.histogram import Histogram
from tests.fakes.results import fake_observations, fake_run


@pytest.mark.slow
def test_each_workload_has_a_panel_and_the_floors_share_one():
    svg = latency(fake_run(), fake_observations())
    for title in ("broadcast", "push_notify", "rpc_ping", "floors"):
        assert f">{title}<" in svg
    for line in ("push", "polling", "push_again", "push_asyncio", "hop uvloop", "future uvloop", "sweep"):
        assert f">{line}<" in svg
    assert "polling@" not in svg
    assert all(colour in svg for colour in (BLUE, RED, GREY))


def test_without_a_sweep_the_legend_names_none():
    svg = latency(fake_run(), [o for o in fake_observations() if o.workload == "rpc_ping"])
    assert ">sweep<" not in svg
    assert ">push<" in svg


def test_without_histograms_there_is_no_plot():
    assert latency(fake_run(), [o for o in fake_observations() if not o.histograms]) is None
    empty = msgspec.structs.replace(fake_observations()[0], histograms={"latency": Histogram().to_dict()})
    assert latency(fake_run(), [empty]) is None


@pytest.mark.parametrize("count", [1, 5, 5000])
def test_a_curve_runs_from_the_smallest_to_all_in_few_steps(count):
    histogram = Histogram()
    histogram.record_many(np.arange(count, dtype=np.int64) * 1_000_003)
    values_s, shares = _curve(histogram)
    assert len(values_s) == len(shares) <= 1000
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert (np.diff(values_s) >= 0).all()
    assert (np.diff(shares) >= 0).all()
    assert values_s[0] > 0
    assert values_s[-1] == pytest.approx(max(histogram.max_ns / 1e9, 1e-9))
