import msgspec
import numpy as np
import pytest

from harness.report.plots_latency import _curve, _looks, latencies
from harness.report.svg import BLUE, GREY, RED
from harness.stats.histogram import Histogram
from tests.fakes.results import TIMED, fake_observations, fake_run


@pytest.mark.slow
def test_each_workload_that_was_timed_has_a_figure_with_a_line_for_each_arm():
    figures = latencies(fake_run(), fake_observations())
    assert list(figures) == [f"latency-{workload}" for workload in TIMED]
    for line in ("push", "push_again", "push_asyncio", "polling"):
        assert f">{line}<" in figures["latency-rpc_ping"]
    assert ">sweep<" not in figures["latency-rpc_ping"]
    assert "Medians: push 6" in figures["latency-rpc_ping"]


def test_a_sweep_is_one_entry_of_the_legend():
    svg = latencies(fake_run(), [o for o in fake_observations() if o.workload == "push_notify"])[
        "latency-push_notify"
    ]
    assert svg.count(">sweep<") == 1
    assert ">polling@" not in svg
    assert all(colour in svg for colour in (BLUE, RED, GREY))


def test_a_name_that_is_a_path_stays_in_the_folder():
    first = next(o for o in fake_observations() if o.histograms)
    figures = latencies(fake_run(), [msgspec.structs.replace(first, workload="../../etc/passwd")])
    assert list(figures) == ["latency-----etc-passwd"]


def test_without_histograms_there_is_no_plot():
    assert latencies(fake_run(), [o for o in fake_observations() if not o.histograms]) == {}
    empty = msgspec.structs.replace(fake_observations()[0], histograms={"latency": Histogram().to_dict()})
    assert latencies(fake_run(), [empty]) == {}


def test_no_two_of_many_lines_look_alike_and_arms_keep_the_colour_of_their_stack():
    names = [
        "push",
        "push_process",
        "push_network",
        "push_again",
        "push_asyncio",
        "polling",
        "floors",
        "grpc",
    ]
    looks = _looks(names)
    assert len(set(looks.values())) == len(names)
    assert [looks[name][0] for name in names[:4]] == [BLUE] * 4
    assert looks["polling"] == (RED, "-")


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
