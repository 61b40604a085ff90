"""When a cell is void: by what was counted around it, made up here."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.records.disturbance import (
    LEAST_JUDGED_S,
    NAMED,
    UNNAMED,
    Counted,
    disturbance_of,
    sampling_error_s,
    summed,
    told_at_start,
)
from harness.records.schema import Disturbance


def counted(interval_s: float = 2.0, cores: int = 2, **changes: object) -> Counted:
    """What a quiet machine shows: the tree works, and daemons wake now and then."""
    quiet = {
        "busy_s": 0.5 * interval_s,
        "steal_s": 0.0,
        "own_s": 0.5 * interval_s,
        "others_s": {"daemon (1)": 0.005 * interval_s},
        "wait_s": 0.01 * interval_s,
        "throttled_s": 0.0,
        "throttled_by": "/group",
    }
    return Counted(interval_s=interval_s, cores=cores, **{**quiet, **changes})  # type: ignore[arg-type]


def test_a_quiet_machine_voids_nothing_and_tells_what_it_saw() -> None:
    found = disturbance_of(counted(frequency_hz=2e9))
    assert found.void == found.culprits == []
    assert found.others_cores == pytest.approx(0.005)
    assert (found.steal_share, found.throttled_share, found.frequency_hz) == (0.0, 0.0, 2e9)
    assert found.wait_cores == pytest.approx(0.01 * 0.005 / 0.505)


def test_a_busy_neighbour_voids_and_is_named() -> None:
    busy = counted(others_s={"python3 (4711)": 1.94, "daemon (1)": 0.01}, busy_s=2.95)
    assert disturbance_of(busy).void == [
        "other programs used 0.97 of 2 cores (python3 (4711) 0.97 cores)",
    ]


def test_only_the_largest_are_named() -> None:
    many = {f"cc1 ({pid})": 0.1 + pid / 1e3 for pid in range(9)}
    found = disturbance_of(counted(others_s=many))
    assert found.culprits == ["cc1 (8) 0.05 cores", "cc1 (7) 0.05 cores", "cc1 (6) 0.05 cores"]
    assert len(found.culprits) == NAMED


@pytest.mark.parametrize(("cores", "limit_cores"), [(1, 0.15), (2, 0.15), (16, 1.2)])
def test_more_cores_bear_more_neighbours(cores: int, limit_cores: float) -> None:
    below, above = ({"other (7)": 10 * (limit_cores + change)} for change in (-0.01, 0.01))
    assert not disturbance_of(counted(10.0, cores, others_s=below, wait_s=0.0)).void
    assert disturbance_of(counted(10.0, cores, others_s=above, wait_s=0.0)).void


def test_what_nobody_is_seen_to_use_is_told_as_such() -> None:
    found = disturbance_of(counted(busy_s=1.0 + 1.5))
    assert found.others_cores is not None
    assert found.others_cores == pytest.approx((0.01 + 1.5 - 0.01 - sampling_error_s(counted())) / 2)
    assert found.culprits == [f"{UNNAMED} {found.others_cores - 0.005:.2f} cores"]
    assert found.void[0].startswith("other programs used 0.6")


def test_kernel_threads_are_nobodys() -> None:
    assert disturbance_of(counted(busy_s=1.0 + 1.5, kernel_s=1.5)).void == []


@given(st.integers(1, 64), st.floats(LEAST_JUDGED_S, 60.0), st.floats(0.0, 1.0), st.integers(0, 2**32))
def test_sampling_alone_never_voids(cores: int, interval_s: float, share: float, seed: int) -> None:
    """A tree that uses a share of the cores, exactly known, and ticks that see it by chance."""
    ticks = round(interval_s * 100 * cores)
    seen_s = float(np.random.default_rng(seed).binomial(ticks, share)) / 100
    own_s = share * interval_s * cores
    sampled = counted(interval_s, cores, busy_s=seen_s, own_s=own_s, others_s={}, wait_s=0.0)
    assert disturbance_of(sampled).void == []


def test_the_tree_waiting_for_itself_is_no_disturbance() -> None:
    """A hundred threads on one core wait 99 times as long as they run."""
    crowded = counted(cores=1, own_s=1.95, busy_s=2.0, wait_s=99 * 2.0, others_s={"daemon (1)": 0.01})
    found = disturbance_of(crowded)
    assert found.void == []
    assert found.wait_cores == pytest.approx(0.005)  # no more than the daemon used


def test_waiting_because_of_a_neighbour_voids_below_the_limit_on_its_cpu() -> None:
    found = disturbance_of(counted(others_s={"other (7)": 0.28}, own_s=0.5, busy_s=0.78, wait_s=1.0))
    assert found.void == [
        "other programs made its threads wait 280 ms for a core, in 2000 ms (other (7) 0.14 cores)"
    ]


def test_who_keeps_two_cores_busy_is_delayed_by_half_of_what_others_use() -> None:
    crowded = counted(own_s=3.8, busy_s=4.0, wait_s=400.0, others_s={"agent (7)": 0.18})
    found = disturbance_of(crowded)
    assert found.wait_cores == pytest.approx(0.09 / 1.9)
    assert found.void == []


def test_steal_and_throttling_void() -> None:
    found = disturbance_of(counted(steal_s=0.2, throttled_s=0.9))
    assert found.void == [
        "the hypervisor gave 5.0 % of the CPU time to other machines (steal)",
        "a CPU quota (/group) held it up for 45.0 % of the time",
    ]
    assert not disturbance_of(counted(steal_s=0.06, throttled_s=0.019)).void


def test_one_tick_of_steal_a_core_is_rounding() -> None:
    assert not disturbance_of(counted(0.05, steal_s=0.02)).void
    assert disturbance_of(counted(0.05, steal_s=0.03)).void


def test_throttling_is_summed_over_cores_and_never_more_than_always() -> None:
    assert disturbance_of(counted(throttled_s=3.5)).throttled_share == 1.0


def test_what_the_machine_does_not_tell_is_null_and_voids_nothing() -> None:
    blind = counted(busy_s=None, steal_s=None, wait_s=None, throttled_s=None)
    found = disturbance_of(blind)
    assert (found.steal_share, found.wait_cores, found.throttled_share, found.frequency_hz) == (None,) * 4
    assert found.others_cores == pytest.approx(0.005)  # those that can be seen
    assert found.void == []
    assert disturbance_of(counted(0.0)) == Disturbance()


def test_a_wakeup_of_a_daemon_is_borne_in_a_short_window() -> None:
    assert not disturbance_of(counted(0.01, others_s={"daemon (1)": 0.003}, busy_s=0.01, wait_s=0.0)).void
    assert disturbance_of(counted(0.01, others_s={"daemon (1)": 0.006}, busy_s=0.01, wait_s=0.0)).void


def test_a_short_window_is_judged_by_what_came_before() -> None:
    """The clock of a process that runs shows its last tick: within 4 ms it may not move at all."""
    window = counted(0.004, others_s={}, wait_s=0.003, own_s=0.004)
    around = counted(1.0, others_s={"other (7)": 0.9}, busy_s=1.4)
    assert disturbance_of(window).void == []
    found = disturbance_of(window, around)
    assert found.void == ["other programs used 0.90 of 2 cores (other (7) 0.90 cores)"]
    assert found.wait_cores == pytest.approx(0.003 * 0.9 / 1.4 / 0.004)
    long = counted(LEAST_JUDGED_S)
    assert disturbance_of(long, around).void == []
    soon = counted(LEAST_JUDGED_S / 2, others_s={"other (7)": 0.2})
    assert disturbance_of(window, soon).void == []  # no longer than the window would have to be


def test_intervals_are_summed() -> None:
    one = counted(others_s={"a (1)": 0.1}, steal_s=None, frequency_hz=1e9)
    other = counted(1.0, others_s={"a (1)": 0.2, "b (2)": 0.3}, kernel_s=0.1, frequency_hz=2e9)
    both = summed(one, other)
    assert (both.interval_s, both.looks, both.cores) == (3.0, 2, 2)
    assert both.others_s == pytest.approx({"a (1)": 0.3, "b (2)": 0.3})
    assert both.busy_s == pytest.approx(1.5)
    assert (both.steal_s, both.kernel_s, both.frequency_hz, both.throttled_by) == (None, 0.1, 2e9, "/group")


def test_the_sampling_error_grows_with_the_root_of_the_window() -> None:
    assert sampling_error_s(counted(2.0)) == pytest.approx(2 * math.sqrt(100 + 2) * 0.01)
    assert sampling_error_s(counted(200.0)) / sampling_error_s(counted(2.0)) == pytest.approx(10, rel=0.02)


def test_the_load_at_the_start_is_told_with_what_to_do() -> None:
    found = disturbance_of(counted(others_s={"make (9)": 2.0}))
    (line,) = told_at_start(found, 2, None)
    assert line.startswith("before the run other programs used 1.00 of 2 cores (make (9) 1.00 cores). Cells ")
    assert line.endswith("End what disturbs, or measure later")
    assert told_at_start(disturbance_of(counted()), 2, None) == []


@pytest.mark.parametrize(("quota", "lines"), [(None, 0), (2.0, 0), (0.5, 1)])
def test_a_quota_below_the_cores_is_told_at_the_start(quota: float | None, lines: int) -> None:
    told = told_at_start(Disturbance(), 2, quota)
    assert len(told) == lines
    assert all("a CPU quota of 0.5 cores holds for 2 usable cores" in line for line in told)
