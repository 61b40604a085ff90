import pytest

from harness.records.derive import Outcome, Sampled, derive, missing, of_the_log, of_the_window
from harness.records.metrics import METRICS
from harness.stats.histogram import Histogram, HistogramData

MS = 1_000_000


def histogram(values_ms: list[int]) -> HistogramData:
    made = Histogram()
    for value in values_ms:
        made.record(value * MS)
    return made.to_dict()


def test_everything_counted_outside_is_put_in_relation_to_time_and_operations() -> None:
    sampled = Sampled(
        elapsed_s=2.0,
        cpu_s=1.0,
        wakeups=400,
        log_records=20,
        log_warnings=6,
        log_bytes=3000,
        memory_start_bytes=10,
        memory_peak_bytes=30,
        memory_hwm_bytes=40,
        memory_file_bytes=50,
        memory_queued_bytes=7,
    )
    assert derive(sampled, Outcome(operations=10, clients=4, logged=30)) == {
        "cpu_cores": 0.5,
        "cpu_s_per_op": 0.1,
        "ops_per_s": 5.0,
        "wakeups_per_op": 40.0,
        "wakeups_per_s": 200.0,
        "wakeups_per_client_per_s": 50.0,
        "log_records_per_s": 10.0,
        "log_records_per_op": 2.0,
        "log_warnings_per_op": 0.6,
        "log_bytes_per_s": 1500.0,
        "logger_records_per_op": 3.0,
        "memory_start_bytes": 10.0,
        "memory_peak_bytes": 30.0,
        "memory_hwm_bytes": 40.0,
        "memory_file_bytes": 50.0,
        "memory_queued_bytes": 7.0,
    }


def test_without_operations_clients_and_memory_their_metrics_are_not_claimed() -> None:
    metrics = derive(Sampled(elapsed_s=1.0), Outcome())
    assert metrics == dict.fromkeys(
        ("cpu_cores", "wakeups_per_s", "log_records_per_s", "log_bytes_per_s"), 0.0
    )


def test_what_a_floor_took_is_none_of_the_operations() -> None:
    outcome = Outcome(operations=10, floor_cpu_s=0.4)
    metrics = derive(Sampled(elapsed_s=2.0, cpu_s=1.0), outcome)
    assert metrics["cpu_s_per_op"] == pytest.approx(0.06)
    assert metrics["cpu_floor_ratio"] == pytest.approx(1.5)


def test_where_it_is_not_known_what_a_floor_took_cpu_is_no_multiple_of_it() -> None:
    for floor_cpu_s in (None, 0.0):
        outcome = Outcome(operations=10, floor_cpu_s=floor_cpu_s, values={"floor_s": 0.02})
        assert "cpu_floor_ratio" not in derive(Sampled(elapsed_s=2.0, cpu_s=1.0), outcome)


def test_memory_of_zero_bytes_is_a_value() -> None:
    assert derive(Sampled(elapsed_s=1.0, memory_peak_bytes=0), Outcome())["memory_peak_bytes"] == 0.0


def test_memory_above_the_updates_is_the_peak_less_what_the_clients_hold() -> None:
    sampled = Sampled(elapsed_s=1.0, memory_start_bytes=30, memory_peak_bytes=100)
    assert derive(sampled, Outcome(updates_bytes=60))["memory_above_updates_bytes"] == 40.0
    assert "memory_above_updates_bytes" not in derive(sampled, Outcome())
    assert "memory_above_updates_bytes" not in derive(Sampled(elapsed_s=1.0), Outcome(updates_bytes=60))


def test_high_water_marks_that_could_not_be_reset_are_no_value_and_say_why() -> None:
    metrics = derive(Sampled(elapsed_s=1.0, memory_start_bytes=1, memory_peak_bytes=2), Outcome())
    assert metrics["memory_hwm_bytes"] is None
    assert METRICS["memory_hwm_bytes"].missing == "the high-water marks of before could not be reset"


def test_a_rate_over_no_time_is_no_value() -> None:
    metrics = derive(Sampled(cpu_s=1.0), Outcome(operations=1, clients=1))
    missing = {name for name, value in metrics.items() if value is None}
    assert missing == {
        "cpu_cores",
        "log_records_per_s",
        "log_bytes_per_s",
        "ops_per_s",
        "wakeups_per_s",
        "wakeups_per_client_per_s",
    }


def test_latencies_are_percentiles_in_seconds() -> None:
    values_ms = list(range(1, 1001))
    outcome = Outcome(histograms={name: histogram(values_ms) for name in ("latency", "intended", "lag")})
    metrics = derive(Sampled(elapsed_s=1.0), outcome)
    for name in ("latency", "intended"):
        assert metrics[f"{name}_p50_s"] == pytest.approx(0.500, rel=1e-3)
        assert metrics[f"{name}_p99_s"] == pytest.approx(0.990, rel=1e-3)
    assert metrics["lag_p99_s"] == pytest.approx(0.990, rel=1e-3)
    assert metrics["latency_p99_bound_s"] == pytest.approx(0.996, rel=1e-3)
    assert metrics["intended_p99_bound_s"] == metrics["latency_p99_bound_s"]
    assert metrics["latency_max_s"] == 1.0
    assert not {"lag_p50_s", "lag_p99_bound_s", "intended_max_s"} & metrics.keys()


@pytest.mark.parametrize(("operations", "bounded"), [(298, False), (299, True)])
def test_the_bound_of_a_p99_needs_299_operations(operations: int, bounded: bool) -> None:
    metrics = derive(Sampled(elapsed_s=1.0), Outcome(histograms={"latency": histogram([2] * operations)}))
    assert metrics["latency_p99_bound_s"] == (0.002 if bounded else None)
    assert metrics["latency_p99_s"] == 0.002


def test_percentiles_of_nothing_are_no_values() -> None:
    outcome = Outcome(histograms={name: histogram([]) for name in ("intended", "lag")})
    metrics = derive(Sampled(elapsed_s=1.0), outcome)
    for name in ("intended_p50_s", "intended_p99_s", "lag_p99_s"):
        assert metrics[name] is None


def test_a_cell_that_measured_no_operation_has_no_metrics() -> None:
    outcome = Outcome(operations=3, histograms={"latency": histogram([])})
    with pytest.raises(ValueError, match="measured no operation"):
        derive(Sampled(elapsed_s=1.0), outcome)


def test_values_of_the_workload_are_taken_over() -> None:
    values = {"round_s": 0.2, "accuracy": 0.95, "faults_reported": 2.0, "clients": 4.0}
    assert derive(Sampled(elapsed_s=1.0), Outcome(values=values)).items() >= values.items()


@pytest.mark.parametrize(
    "outcome", [Outcome(values={"speed": 1.0}), Outcome(histograms={"delay": histogram([1])})]
)
def test_an_unknown_metric_is_refused(outcome: Outcome) -> None:
    with pytest.raises(ValueError, match=r"unknown metrics .*(speed|delay_p50_s).*harness\.records\.metrics"):
        derive(Sampled(elapsed_s=1.0), outcome)


def test_what_the_workload_says_is_missing_has_no_value() -> None:
    outcome = Outcome(operations=1, clients=1, missing=of_the_window("others work, too"))
    metrics = derive(Sampled(elapsed_s=1.0, cpu_s=1.0, wakeups=3, log_records=2), outcome)
    missing = {name for name, value in metrics.items() if value is None}
    assert missing == {name for name in metrics if name.startswith(("cpu", "wakeups", "ops"))}
    assert len(missing) == 6
    assert metrics["log_records_per_op"] == 2.0


def test_what_others_logged_is_no_value_of_the_operations() -> None:
    outcome = Outcome(operations=2, missing=of_the_log("others log, too"))
    metrics = derive(Sampled(elapsed_s=1.0, log_records=4), outcome)
    assert {name for name, value in metrics.items() if value is None} == outcome.missing.keys()
    assert metrics["log_records_per_s"] == 4.0


def test_a_metric_that_is_not_derived_cannot_be_missing() -> None:
    assert "cpu_s_per_op" not in derive(Sampled(elapsed_s=1.0), Outcome(missing=of_the_window("idle")))
    with pytest.raises(ValueError, match=r"unknown metrics .*'cpu'"):
        derive(Sampled(elapsed_s=1.0), Outcome(missing={"cpu": "there is none"}))


REPORTED = (
    "latency_hops",
    "floor_s",
    "floor_ratio",
    "start_s",
    "server_per_client_bytes",
    "server_cpu_cores",
    "probe_latency_ratio",
    "probe_mean_ratio",
    "round_s",
    "round_client_s",
    "round_ask_s",
    "round_collect_s",
    "round_reduce_s",
    "round_publish_s",
    "memory_per_client_bytes",
    "uss_per_client_bytes",
    "accuracy",
    "faults_reported",
    "clients",
    "capacity_ops_per_s",
    "capacity_spread_share",
    "payload_bytes_per_s",
    "spread_p50_s",
    "inflation_p50_ratio",
    "inflation_p99_ratio",
    "deadline_error_max_s",
    "backpressure_s",
    "queued_messages",
    *(f"goodput_{percent}_ops_per_s" for percent in (50, 75, 100, 125, 150)),
    "goodput_retention_share",
    "knee_share",
    "refused_share",
    "late_share",
    "recovery_s",
    "growth_ratio",
    "leak_bytes_per_round",
    "model_copies",
    "overhead_s",
    "overhead_refs",
    "reference_s",
    "memory_growth_bytes_per_min",
    "fds_growth_per_min",
    "threads_growth_per_min",
    "tasks_growth_per_min",
    "late_early_ratio",
)
"""What workloads report by themselves."""


def test_every_known_metric_can_be_derived() -> None:
    sampled = Sampled(elapsed_s=1.0, memory_start_bytes=1, memory_peak_bytes=1, memory_hwm_bytes=1)
    found: set[str] = set()
    for names in (("latency", "intended", "lag"), ("latency",)):
        outcome = Outcome(
            operations=1,
            clients=1,
            histograms={name: histogram([1] * 100) for name in names},
            values=dict.fromkeys(REPORTED, 1.0),
            updates_bytes=1,
            floor_cpu_s=0.1,
            pauses_ns=[],
        )
        found |= derive(sampled, outcome).keys()
    assert found == METRICS.keys() - {"benchmark_s"}  # pytest-benchmark measures that


def collected(pauses_ns: list[int] | None, **histograms: list[int]) -> dict[str, float | None]:
    made = {name: histogram(values) for name, values in histograms.items()}
    metrics = derive(Sampled(elapsed_s=1.0), Outcome(histograms=made, pauses_ns=pauses_ns))
    return {name: value for name, value in metrics.items() if name.startswith("gc_")}


def test_collections_explain_at_most_as_many_slow_operations_as_were_long_enough() -> None:
    calls = [1] * 980 + [9] * 20  # 8 ms lie between the median and the p99
    long, short = 8_500_000, 500_000
    assert collected([short] * 50, latency=calls) == {"gc_pause_max_s": 0.0005, "gc_slow_share": 0.0}
    assert collected([long] * 4 + [short], latency=calls) == {"gc_pause_max_s": 0.0085, "gc_slow_share": 0.4}
    assert collected([long] * 99, latency=calls)["gc_slow_share"] == 1.0
    assert collected([], latency=calls) == {"gc_pause_max_s": 0.0, "gc_slow_share": 0.0}


def test_of_operations_that_overlap_a_collection_may_hold_up_several() -> None:
    assert collected([5], latency=[1] * 100, intended=[1] * 100) == {"gc_pause_max_s": 5e-9}
    assert collected([5], latency=[1] * 99) == {"gc_pause_max_s": 5e-9}  # their slowest hundredth is not one
    assert collected([5]) == {"gc_pause_max_s": 5e-9}
    assert collected(None, latency=[1] * 100) == {}


def test_the_probes_are_charged_only_where_their_cost_is_the_question() -> None:
    sampled = Sampled(elapsed_s=1.0, probe_cpu_s=0.02, probe_s=4.0)
    assert "probe_cpu_cores" not in derive(sampled, Outcome())
    metrics = derive(sampled, Outcome(values={"probe_latency_ratio": 1.01}))
    assert (metrics["probe_cpu_cores"], metrics["probe_latency_ratio"]) == (0.005, 1.01)


@pytest.mark.parametrize(
    ("count", "metrics"),
    [
        ("cpu", {"cpu_cores", "cpu_s_per_op", "cpu_floor_ratio"}),
        ("wakeups", {"wakeups_per_s", "wakeups_per_op", "wakeups_per_client_per_s"}),
        ("queues", {"memory_queued_bytes"}),
    ],
)
def test_what_the_probes_could_not_count_is_null_with_the_reason(count: str, metrics: set[str]) -> None:
    sampled = Sampled(
        elapsed_s=1.0,
        cpu_s=1.0,
        wakeups=5,
        memory_peak_bytes=9,
        memory_queued_bytes=3,
        missing={count: "lost"},
    )
    outcome = Outcome(operations=5, clients=2, floor_cpu_s=0.5)
    derived = derive(sampled, outcome)
    counted = {"cpu_cores", "cpu_s_per_op", "wakeups_per_op", "memory_peak_bytes", "ops_per_s"}
    assert {name for name in counted | metrics if derived[name] is None} == metrics
    assert missing(sampled, outcome) == dict.fromkeys(metrics, "lost")
    outcome.missing = dict.fromkeys(metrics, "the workload knows better")
    assert missing(sampled, outcome) == outcome.missing
