"""What a run says while it runs, told by a clock that stands still until it is moved."""

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from harness.progress import BarProgress, PlainProgress, create_progress
from harness.records.format import duration
from harness.records.schema import Observation, Status
from harness.report.firsts import Watched
from harness.run.plan import ArmRun, expected_s, plan
from harness.stacks.registry import stack_names
from harness.suitefile import load_suite
from harness.workloads.registry import catalogue

FIRST = Watched("RPC latency, memory mode", ("push", "rpc_ping"), ("polling", "rpc_ping"), "latency_p50_s")


class Clock:
    """Tells the time that it was set to, in seconds."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def console(width: int = 80, *, terminal: bool = False) -> Console:
    return Console(file=StringIO(), width=width, force_terminal=terminal, record=True)


def shown(where: Console) -> str:
    return where.export_text(clear=False)


@pytest.fixture
def runs() -> list[ArmRun]:
    return plan(load_suite("smoke", catalogue(), stack_names()), 0)


def observation(status: Status = "ok", **more: Any) -> Observation:
    return Observation(
        block=1, order=1, arm="push", stack="push", loop="uvloop", mode="memory", workload="rpc_ping",
        kind="rpc_ping", params={}, status=status, **more,
    )  # fmt: skip


def drive(progress: PlainProgress, runs: list[ArmRun], *observations: Observation) -> None:
    progress.started(len(runs), expected_s(runs))
    for arm_run in runs:
        progress.arm(arm_run)
        progress.cell("rpc_ping")
        for made in observations:
            progress.observed(made)
        progress.arm_done(arm_run)


def test_without_a_terminal_every_worker_is_a_line(runs: list[ArmRun]) -> None:
    where, clock = console(), Clock()
    progress = PlainProgress(where, clock=clock)
    progress.started(2, expected_s(runs[:2]))
    for arm_run in runs[:2]:
        progress.arm(arm_run)
        progress.observed(observation())
        clock.now_s += arm_run.expected_s()
        progress.arm_done(arm_run)
    first, second, third = shown(where).splitlines()
    assert first == f"2 workers, about {duration(expected_s(runs[:2]))}"
    assert second == f"1/2 {runs[0].title} done, about {duration(runs[1].expected_s())} left"
    assert third == f"2/2 {runs[1].title} done"


def test_verbose_adds_a_line_for_every_workload(runs: list[ArmRun]) -> None:
    where = console()
    made = (observation(operations=400, elapsed_s=0.0123), observation(elapsed_s=2.0))
    drive(PlainProgress(where, 1), runs[:1], *made)
    assert shown(where).splitlines()[1:3] == [
        "  push rpc_ping: ok, 400 operations in 12.3 ms",
        "  push rpc_ping: ok, 2.00 s",
    ]


@pytest.mark.parametrize("verbose", [-1, 0, 1])
def test_what_went_wrong_is_always_told_on_one_line(runs: list[ArmRun], verbose: int) -> None:
    where = console()
    made = observation("failed", reasons=["the worker [red]ended[/red]\nwith 1", "x" * 100])
    drive(PlainProgress(where, verbose), runs[:1], made)
    assert (
        f"  push rpc_ping: failed: the worker [red]ended[/red] with 1; {'x' * 100}"
        in shown(where).splitlines()
    )


def test_quiet_tells_nothing_else_and_has_no_bar(runs: list[ArmRun]) -> None:
    where = console(terminal=True)
    with create_progress(where, -1) as progress:
        assert not isinstance(progress, BarProgress)
        drive(progress, runs, observation())
    assert shown(where) == ""


@pytest.mark.parametrize("width", [80, 120])
def test_a_terminal_has_one_bar_that_fits_and_goes(runs: list[ArmRun], width: int) -> None:
    where = console(width, terminal=True)
    with create_progress(where, 0) as progress:
        assert isinstance(progress, BarProgress)
        progress.started(len(runs), expected_s(runs))
        progress.arm(runs[0])
        progress.cell("idle_federation")
        lines = [
            "".join(part.text for part in line).rstrip()
            for line in where.render_lines(progress._bar.get_renderable())
        ]
        progress.observed(observation())
        for arm_run in runs:
            progress.arm_done(arm_run)
        (task,) = progress._bar.tasks
        assert task.percentage == 100
    (line,) = lines
    assert f"  0 % about {duration(expected_s(runs))} left block 1 " in line
    assert line.endswith("idle_federation")
    assert len(line) <= width


def test_a_failure_stands_above_the_bar(runs: list[ArmRun]) -> None:
    where = console(terminal=True)
    with create_progress(where, 0) as progress:
        drive(progress, runs, observation("timeout", reasons=["it hung"]))
    assert "  push rpc_ping: timeout: it hung" in shown(where)


# time left


def test_the_time_left_is_as_many_times_the_plan_as_it_took_so_far(runs: list[ArmRun]) -> None:
    clock, where = Clock(), console()
    progress = PlainProgress(where, clock=clock)
    progress.started(10, 10 * runs[0].expected_s() + 1000.0)
    for _ in range(10):
        clock.now_s += 3 * runs[0].expected_s()
        progress.arm_done(runs[0])
    done_s = 10 * runs[0].expected_s()
    scale = (3 * done_s + 2.0) / (done_s + 2.0)
    assert scale > 1.5
    assert progress._left() == f"about {duration(1000.0 * scale)} left"


def test_one_short_worker_hardly_changes_the_time_left(runs: list[ArmRun]) -> None:
    clock, where = Clock(), console()
    progress = PlainProgress(where, clock=clock)
    progress.started(2, 100.0 + 1e-3)
    assert progress._left() == "about 1 min 40 s left"
    progress._done_s = 1e-3
    clock.now_s += 0.1  # a hundred times longer than planned
    assert progress._left() == "about 1 min 45 s left"


def test_a_block_says_how_many_are_decided_and_how_long_it_takes_at_most() -> None:
    clock, where = Clock(), console()
    progress = PlainProgress(where, clock=clock)
    progress.started(30, 100.0)
    progress.block_done(1, 12, 30, 100.0)
    progress.block_done(2, 30, 30, 0.0)
    progress.notice("the machine is \x1b[1mbusy\nnow")
    assert shown(where).splitlines()[1:] == [
        "block 1: 12 of 30 decided, about 1 min 40 s left at most",
        "block 2: 30 of 30 decided",
        "the machine is \ufffd[1mbusy now",
    ]


def test_no_block_begins_after_the_limit_whatever_the_plan_expects() -> None:
    clock, where = Clock(), console()
    progress = PlainProgress(where, limit_s=200.0, clock=clock)
    progress.started(30, 400.0)
    clock.now_s += 170.0
    progress.block_done(6, 12, 30, 300.0)
    clock.now_s += 100.0
    progress.block_done(7, 12, 30, 300.0)
    assert [line.partition("about ")[2] for line in shown(where).splitlines()[1:]] == [
        "30 s left at most", "0 s left at most",
    ]  # fmt: skip


# first results


@pytest.mark.parametrize("terminal", [False, True])
def test_the_first_result_of_a_promise_is_shown_as_soon_as_it_is_there(terminal: bool) -> None:
    where = console(120, terminal=terminal)
    with create_progress(where, 0, [FIRST]) as progress:
        progress.started(4, 60.0)
        progress.observed(observation(metrics={"latency_p50_s": 1e-5}))
        assert "first result" not in shown(where)
        progress.observed(polling(1e-3))
        progress.block_done(1, 0, 30, 50.0)
    text = shown(where)
    assert "first result: RPC latency, memory mode: 99.0 % less in block 1, not yet decided" in text
    assert "block 1: 0 of 30 decided" in text


def test_quiet_runs_show_no_results() -> None:
    where = console()
    with create_progress(where, -1, [FIRST]) as progress:
        progress.observed(observation(metrics={"latency_p50_s": 1e-5}))
        progress.observed(polling(1e-3))
        progress.block_done(1, 0, 30, 50.0)
        progress.notice("load 2.0")
    assert shown(where) == ""


def test_the_bar_goes_on_with_how_many_are_decided(runs: list[ArmRun]) -> None:
    where = console(120, terminal=True)
    with create_progress(where, 0) as progress:
        assert isinstance(progress, BarProgress)
        progress.started(len(runs), expected_s(runs))
        progress.block_done(1, 12, 30, 50.0)
        progress.arm(runs[0])
        progress.cell("rpc_ping")
        (task,) = progress._bar.tasks
        assert task.fields["left"].startswith("12 of 30 decided, about ")


def test_without_a_terminal_nothing_is_cut() -> None:
    where = console(20)
    PlainProgress(where).notice("x" * 300 + " " + "y" * 300)
    assert shown(where) == "x" * 300 + " " + "y" * 300 + "\n"


def polling(latency_s: float) -> Observation:
    return Observation(
        block=1, order=2, arm="polling", stack="polling", loop="uvloop", mode="memory", workload="rpc_ping",
        kind="rpc_ping", params={}, status="ok", metrics={"latency_p50_s": latency_s},
    )  # fmt: skip
