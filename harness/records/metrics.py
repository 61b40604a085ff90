"""Every metric: its unit and direction. A name carries its unit."""

from __future__ import annotations

from typing import Literal, NamedTuple

Direction = Literal["lower", "higher"]


class Metric(NamedTuple):
    """What a metric is.

    Attributes:
        unit: Unit for people.
        direction: Which way is better.
        title: What it measures.
        missing: Why it is null where it is.
    """

    unit: str
    direction: Direction
    title: str
    missing: str = "could not be measured"


METRICS: dict[str, Metric] = {
    "latency_p50_s": Metric("s", "lower", "median latency of one operation"),
    "latency_p99_s": Metric("s", "lower", "99th percentile of latency"),
    "latency_p99_bound_s": Metric(
        "s", "lower", "95 % upper bound of the 99th percentile of latency", "fewer than 299 operations"
    ),
    "latency_hops": Metric("hops", "lower", "median latency in hops of the same loop, timed around it"),
    "latency_max_s": Metric("s", "lower", "largest latency"),
    "intended_p50_s": Metric("s", "lower", "median latency from the intended time of sending"),
    "intended_p99_s": Metric("s", "lower", "99th percentile of latency from the intended time of sending"),
    "intended_p99_bound_s": Metric(
        "s",
        "lower",
        "95 % upper bound of the 99th percentile of latency from the intended time of sending",
        "fewer than 299 operations",
    ),
    "lag_p99_s": Metric("s", "lower", "99th percentile of the load generator's lag"),
    "capacity_ops_per_s": Metric("op/s", "higher", "calls a second while several are open at any time"),
    "capacity_spread_share": Metric(
        "share", "lower", "how far the smaller of two measurements of that capacity lies below the larger"
    ),
    "cpu_cores": Metric("cores", "lower", "CPU time of all processes per second"),
    "cpu_s_per_op": Metric("s/op", "lower", "CPU time of all processes per operation"),
    "ops_per_s": Metric("op/s", "higher", "operations per second"),
    "wakeups_per_s": Metric("1/s", "lower", "voluntary switches of all threads"),
    "wakeups_per_client_per_s": Metric("1/s", "lower", "voluntary switches of all threads per client"),
    "wakeups_per_op": Metric("1/op", "lower", "voluntary switches of all threads per operation"),
    "log_records_per_s": Metric("1/s", "lower", "log records written per second"),
    "log_records_per_op": Metric("1/op", "lower", "log records written per operation"),
    "log_warnings_per_op": Metric("1/op", "lower", "records of level WARNING or above per operation"),
    "log_bytes_per_s": Metric("B/s", "lower", "bytes logged per second"),
    "logger_records_per_op": Metric("1/op", "lower", "records the root logger counted per operation"),
    "memory_start_bytes": Metric("B", "lower", "memory of all processes before the first operation"),
    "memory_peak_bytes": Metric("B", "lower", "peak memory of all processes"),
    "memory_above_updates_bytes": Metric(
        "B", "lower", "that peak less the updates that the clients hold at once, one each"
    ),
    "model_copies": Metric("models", "lower", "most memory held while measured, in copies of the model"),
    "leak_bytes_per_round": Metric(
        "B/round", "lower", "slope of the memory in use over the rounds of one process"
    ),
    "memory_hwm_bytes": Metric(
        "B",
        "lower",
        "sum of the processes' resident high-water marks while measured",
        "the high-water marks of before could not be reset",
    ),
    "memory_file_bytes": Metric(
        "B", "lower", "pages of files that all processes map at that peak, which are not in it"
    ),
    "memory_queued_bytes": Metric(
        "B", "lower", "what waits in pipes and sockets at that peak, which is in it, as far as it is known"
    ),
    "memory_per_client_bytes": Metric("B", "lower", "memory of all processes for each further client"),
    "uss_per_client_bytes": Metric("B", "lower", "memory that only one idle client's process uses (USS)"),
    "server_per_client_bytes": Metric(
        "B", "lower", "memory that only the server's process uses (USS) for each connected client"
    ),
    "server_cpu_cores": Metric("cores", "lower", "CPU time of the server's process per second"),
    "start_s": Metric("s", "lower", "start of a federation until every client has registered"),
    "benchmark_s": Metric("s", "lower", "median time of a micro-benchmark"),
    "floor_s": Metric("s", "lower", "median of the floor timed beside the operation"),
    "floor_ratio": Metric("times", "lower", "median latency as a multiple of that floor"),
    "overhead_s": Metric("s", "lower", "median latency above that floor"),
    "overhead_refs": Metric(
        "refs", "lower", "median latency above that floor, in units of a CPU reference timed in turn"
    ),
    "reference_s": Metric(
        "s", "lower", "median CPU time of that reference: 0.1 ms of the interpreter's work"
    ),
    "cpu_floor_ratio": Metric(
        "times", "lower", "CPU time of the operations as a multiple of that of the floor between them"
    ),
    "growth_ratio": Metric(
        "times", "lower", "time of a broadcast for each client, with many clients over few"
    ),
    "payload_bytes_per_s": Metric("B/s", "higher", "bytes of models per second of the median operation"),
    "spread_p50_s": Metric("s", "lower", "median time between the first and the last client of a burst"),
    "inflation_p50_ratio": Metric(
        "times", "lower", "median latency beside a slow client over that without it"
    ),
    "inflation_p99_ratio": Metric(
        "times", "lower", "99th percentile of latency beside a slow client over that without it"
    ),
    "deadline_error_max_s": Metric("s", "lower", "largest distance of a missed deadline from its time"),
    "backpressure_s": Metric("s", "lower", "median time of a flood until the first refusal"),
    "queued_messages": Metric("messages", "lower", "most messages taken in a flood until the first refusal"),
    **{
        f"goodput_{percent}_ops_per_s": Metric(
            "op/s", "higher", f"calls answered in time per second at {percent} % of capacity"
        )
        for percent in (50, 75, 100, 125, 150)
    },
    "goodput_retention_share": Metric("share", "higher", "goodput at the highest load over the best"),
    "knee_share": Metric("share", "higher", "highest share of capacity that is served in time"),
    "refused_share": Metric("share", "lower", "calls refused at the highest load"),
    "late_share": Metric("share", "lower", "calls answered late, or never, at the highest load"),
    "recovery_s": Metric("s", "lower", "end of an overload or a cut until the last client has answered"),
    "memory_growth_bytes_per_min": Metric("B/min", "lower", "slope of the memory of all processes"),
    "fds_growth_per_min": Metric("1/min", "lower", "slope of the open descriptors of all processes"),
    "threads_growth_per_min": Metric("1/min", "lower", "slope of the threads of all processes"),
    "tasks_growth_per_min": Metric("1/min", "lower", "slope of the tasks of the server's loop"),
    "late_early_ratio": Metric("times", "lower", "99th percentile of latency, last third over first"),
    "round_s": Metric("s", "lower", "median duration of one round"),
    "round_client_s": Metric("s", "lower", "median time from round to round, per client"),
    "round_ask_s": Metric("s", "lower", "mean time of a round until every client was asked"),
    "round_collect_s": Metric("s", "lower", "mean time of a round from there until every update was added"),
    "round_reduce_s": Metric("s", "lower", "mean time of a round to finish the mean of the updates"),
    "round_publish_s": Metric("s", "lower", "mean time of a round to hand out its model"),
    "gc_pause_max_s": Metric("s", "lower", "longest garbage collection of the worker's own process"),
    "gc_slow_share": Metric(
        "share", "lower", "share of the slowest 1 % of operations that garbage collections explain, at most"
    ),
    "probe_cpu_cores": Metric("cores", "lower", "CPU time of the measuring process per second measured"),
    "probe_latency_ratio": Metric("times", "lower", "median latency with probes as a multiple of without"),
    "probe_mean_ratio": Metric("times", "lower", "mean latency with probes as a multiple of without"),
    "accuracy": Metric("share", "higher", "accuracy on the test split"),
    "faults_reported": Metric("faults", "higher", "injected faults that a WARNING named"),
    "clients": Metric("", "higher", "clients that did all that was asked of them"),
}
