import pytest

from fedbench.errors import ConfigError
from harness.records.metrics import METRICS
from harness.regression.margins import MARGINS, Margin, overridden, telling


def test_every_margin_is_of_a_metric_and_means_something() -> None:
    assert set(MARGINS) <= set(METRICS)
    assert all(0 < margin.share < 1 and margin.floor > 0 for margin in MARGINS.values())


def test_without_overrides_the_margins_are_the_usual_ones() -> None:
    assert overridden([]) == MARGINS


@pytest.mark.parametrize(
    ("text", "share"), [("0.2", 0.2), ("20%", 0.2), ("20 %", 0.2), ("150%", 1.5), (" 1e-3", 0.001)]
)
def test_a_share_is_replaced_and_the_floor_stays(text: str, share: float) -> None:
    found = overridden([f"latency_p50_s={text}", "round_s=0.3"])
    assert found["latency_p50_s"] == Margin(pytest.approx(share), MARGINS["latency_p50_s"].floor)
    assert found["round_s"].share == 0.3
    assert {name for name in MARGINS if found[name] != MARGINS[name]} == {"latency_p50_s", "round_s"}


def test_the_last_of_two_counts_and_the_usual_margins_do_not_change() -> None:
    before = dict(MARGINS)
    assert overridden(["round_s=0.3", "round_s=0.4"])["round_s"].share == 0.4
    assert before == MARGINS


@pytest.mark.parametrize("share", ["", "x", "0", "-0.1", "nan", "inf", "0%", "1_0x", "%"])
def test_what_is_no_share_is_refused_with_an_example(share: str) -> None:
    with pytest.raises(ConfigError, match=r"give the share as 0\.2 or 20 %, above 0"):
        overridden([f"round_s={share}"])


def test_all_problems_are_named_together() -> None:
    with pytest.raises(ConfigError) as caught:
        overridden(["speed=0.1", "round_s", "latency_p50_s=0.2"])
    assert caught.value.source == "--threshold"
    first, second = map(str, caught.value.problems)
    assert first.startswith("no metric 'speed' is gated: use one of latency_p50_s, ")
    assert second.startswith("'round_s': give the share")


def test_of_metrics_that_say_the_same_one_is_compared() -> None:
    assert telling({"latency_p50_s", "round_s", "latency_p99_s"}) == ["latency_p99_s", "round_s"]
    both = {"latency_p50_s", "round_s", "latency_p99_s", "floor_ratio", "cpu_cores", "cpu_s_per_op"}
    assert telling(both) == ["latency_p99_s", "floor_ratio", "cpu_s_per_op"]
    assert telling({"cpu_s_per_op", "cpu_floor_ratio"}) == ["cpu_floor_ratio"]
    assert telling({"memory_peak_bytes", "round_s", "log_records_per_op"}) == [
        "memory_peak_bytes",
        "log_records_per_op",
    ]
    assert telling({"accuracy"}) == []
    opened = {f"{kind}_{p}_s" for kind in ("latency", "intended") for p in ("p50", "p99")}
    assert set(telling(opened)) == opened  # a caller that is held up shows in one only
