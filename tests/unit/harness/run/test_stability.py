from typing import Any

import pytest
from msgspec.structs import replace

from harness.records.schema import Disturbance, Observation
from harness.run.stability import NAMED, warnings_of

CALM = {"load": [0.1, 0.1, 0.1], "stall_share": {"cpu": 0.0}, "cpu_ticks": {"all": 1000, "steal": 5}}


def environment(
    before: dict[str, Any] | None = None, after: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    later = {"cpu_ticks": {"all": 2000, "steal": 5}}
    return {
        "dirty": False,
        "cores_usable": 2,
        "before": CALM | (before or {}),
        "after": CALM | later | (after or {}),
        **more,
    }


def observed(block: int = 1, workload: str = "ping", **metrics: float | None) -> Observation:
    return Observation(
        block=block, order=1, arm="push", stack="push", loop="asyncio", mode="memory", workload=workload,
        kind="rpc_ping", params={}, status="ok", metrics=metrics,
    )  # fmt: skip


def test_a_calm_run_warns_of_nothing() -> None:
    calm = [observed(block, latency_p50_s=1.0, lag_p99_s=0.001, gc_slow_share=0.1) for block in range(1, 6)]
    assert warnings_of(environment(), calm) == []


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (
            environment(before={"load": [2.5, 1, 1]}),
            "before the run, the load average was 2.5 on 2 cores: other programs were",
        ),
        (
            environment(before={"stall_share": {"cpu": 0.5}}),
            "before the run, tasks waited for a core 50% of the time",
        ),
        (
            environment(after={"cpu_ticks": {"all": 2000, "steal": 55}}),
            "the hypervisor gave 5.0% of the CPU time to other virtual machines (steal)",
        ),
        (environment(dirty=True), "the checkout has uncommitted changes"),
        (environment(resumed_utc="2026-01-02T03:04:05Z"), "was resumed at 2026-01-02T03:04:05Z: its blocks"),
    ],
)
def test_what_disturbed_the_machine_is_told(found: dict[str, Any], message: str) -> None:
    (warning,) = warnings_of(found, [])
    assert message in warning


@pytest.mark.parametrize("ticks", [None, {"all": 10, "steal": 9}])
def test_without_ticks_of_one_boot_nothing_is_said_of_steal(ticks: Any) -> None:
    assert warnings_of(environment(after={"cpu_ticks": ticks}), []) == []


def sitting(before: int, after: int, stolen: tuple[int, int], **more: Any) -> dict[str, Any]:
    ends = (
        {"cpu_ticks": {"all": at, "steal": steal}} for at, steal in zip((before, after), stolen, strict=True)
    )
    first, last = ends
    return {"before": CALM | first | more, "after": CALM | last}


def test_steal_between_two_sittings_and_a_reboot_disturb_nothing() -> None:
    idle_night = [sitting(0, 10_000, (0, 10)), sitting(2_000_000, 2_010_000, (39_000, 39_010))]
    assert warnings_of(environment(sittings=idle_night), []) == []
    rebooted = [sitting(900_000, 910_000, (80_000, 80_010)), sitting(1_000, 11_000, (5, 10))]
    assert warnings_of(environment(sittings=rebooted), []) == []
    (warning,) = warnings_of(environment(sittings=[*rebooted, sitting(0, 10_000, (0, 3_000))]), [])
    assert "gave 10.1% of the CPU time" in warning


def test_a_machine_that_is_busy_when_a_run_is_resumed_is_told() -> None:
    busy = sitting(0, 10, (0, 0), load=[9.0, 1, 1], stall_share={"cpu": 0.5})
    told = warnings_of(environment(sittings=[sitting(0, 10, (0, 0)), busy]), [])
    who = "other programs were running, or the run that broke off was still ending"
    assert told == [
        f"before it was resumed, tasks waited for a core 50% of the time: {who}",
        f"before it was resumed, the load average was 9.0 on 2 cores: {who}",
    ]


def test_load_and_stalls_after_the_run_are_its_own() -> None:
    own = {"load": [9.0, 9.0, 9.0], "stall_share": {"cpu": 0.9}}
    assert warnings_of(environment(after=own), []) == []


def test_a_cell_that_comes_out_different_in_each_block_is_named() -> None:
    ping = [observed(block, latency_p50_s=value) for block, value in enumerate((1.0, 1.3, 0.8, 1.2, 1.0))]
    calm = [observed(block, "round", round_s=1.0 + block / 1000) for block in range(5)]
    (warning,) = warnings_of(environment(), [*ping, *calm])
    assert warning == (
        "unstable, with a standard deviation between blocks beyond 10%: push ping latency_p50_s 18%"
    )


def test_few_blocks_or_missing_values_tell_nothing_of_spread() -> None:
    assert warnings_of(environment(), [observed(1, latency_p50_s=1.0), observed(2, latency_p50_s=9.0)]) == []
    assert warnings_of(environment(), [observed(block, latency_p50_s=None) for block in range(5)]) == []
    assert warnings_of(environment(), [observed(block, latency_p50_s=0.0) for block in range(5)]) == []


def test_disturbed_blocks_tell_nothing_of_spread() -> None:
    calm = [observed(block, latency_p50_s=1.0) for block in range(1, 5)]
    wild = observed(5, latency_p50_s=9.0)
    assert len(warnings_of(environment(), [*calm, wild])) == 1
    busy = Disturbance(void=["others used 1.00 cores"])
    assert warnings_of(environment(), [*calm, replace(wild, disturbance=busy)]) == []


def test_only_the_worst_are_named() -> None:
    cells = [
        observed(block, f"w{number}", latency_p50_s=1.0 + number * (block == 1))
        for number in range(1, 9)
        for block in (1, 2, 3)
    ]
    (warning,) = warnings_of(environment(), cells)
    assert warning.count("latency_p50_s") == NAMED
    assert "push w8 latency_p50_s" in warning
    assert warning.endswith(" and 3 more")


def test_collections_that_explain_the_slowest_are_told_with_the_worst_block() -> None:
    shares = [observed(block, gc_slow_share=share) for block, share in enumerate((0.2, 0.9, 0.6))]
    (warning,) = warnings_of(environment(), shares)
    assert warning == "garbage collections may explain most of the slowest operations: push ping 90%"


def test_a_generator_that_lags_voids_its_cell() -> None:
    (warning,) = warnings_of(environment(), [observed(lag_p99_s=0.011), observed(2, lag_p99_s=0.02)])
    assert warning == "the load generator lagged more than 10 ms at p99, latencies may be void: push ping"
