from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from fedbench.errors import ConfigError
from harness.console import (
    BarProgress,
    PlainProgress,
    create_progress,
    duration,
    parse_duration,
    print_catalogue,
    print_plan,
    print_verdict,
)
from harness.records.metrics import METRICS
from harness.records.schema import Observation, Status
from harness.run.plan import TREE_S, ArmRun, expected_s, plan
from harness.stacks.registry import stack_names
from harness.suite import Suite
from harness.suitefile import load_suite, suite_names
from harness.workloads.registry import WORKLOADS, catalogue
from tests.fakes.results import bare_run, fake_run


def console(width: int = 80, *, terminal: bool = False) -> Console:
    return Console(file=StringIO(), width=width, force_terminal=terminal, record=True)


def shown(where: Console) -> str:
    return where.export_text(clear=False)


@pytest.fixture
def small() -> Suite:
    return load_suite("smoke", catalogue(), stack_names())


@pytest.fixture
def runs(small: Suite) -> list[ArmRun]:
    return plan(small, 0)


def observation(status: Status = "ok", **more: Any) -> Observation:
    return Observation(
        block=1, order=1, arm="push", stack="push", loop="uvloop", mode="memory", workload="rpc_ping",
        kind="rpc_ping", params={}, status=status, **more,
    )  # fmt: skip


# times


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), (" 5m ", 300), ("1.5h", 5400), ("1 h", 3600), ("0.5", 0.5)],
)
def test_a_time_is_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "5d", "-5", "1h30m", "0", "0.0h", "1e3", "5 min", "٣"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is no time: write 90s, 5m or 1h"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (130, "2 min 10 s"),
        (3599.7, "1 h 00 min"),
        (3900, "1 h 05 min"),
        (90_000, "25 h 00 min"),
    ],
)
def test_a_time_is_written_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


# progress


def drive(progress: PlainProgress, runs: list[ArmRun], *observations: Observation) -> None:
    progress.started(len(runs), expected_s(runs))
    for arm_run in runs:
        progress.arm(arm_run)
        progress.cell("rpc_ping")
        for made in observations:
            progress.observed(made)
        progress.arm_done(arm_run)


def test_without_a_terminal_every_worker_is_a_line(runs: list[ArmRun]) -> None:
    where = console()
    with create_progress(where, 0) as progress:
        drive(progress, runs[:2], observation())
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


# plan and catalogue


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize(
    "print_it",
    [print_catalogue, *(lambda c, name=name: print_plan(load(name), 0, c) for name in suite_names())],
)
def test_everything_fits_the_terminal_and_no_word_is_broken(
    width: int, print_it: Callable[[Console], None]
) -> None:
    where, wide = console(width), console(1000)
    print_it(where)
    print_it(wide)
    assert max(map(len, shown(where).splitlines())) <= width
    assert shown(where).split() == shown(wide).split()


def load(name: str) -> Suite:
    return load_suite(name, catalogue(), stack_names())


def test_the_catalogue_names_everything() -> None:
    where = console()
    print_catalogue(where)
    words = set(shown(where).split())
    assert words.issuperset([*suite_names(), *stack_names(), *WORKLOADS, *METRICS])
    assert words.issuperset(f"{name}={value}" for name, value in WORKLOADS["rpc_ping"].defaults.items())


def test_a_plan_has_a_line_a_block_with_its_arms_in_order() -> None:
    suite = load("quick")
    where = console()
    print_plan(suite, 5, where)
    lines = shown(where).splitlines()
    takes = duration(expected_s(plan(suite, 5)))
    assert lines[0] == f"quick: 5 blocks, 77 workers, memory+process+network, seed 5, about {takes}"
    for block in range(1, 6):
        arms = [run.arm.name for run in plan(suite, 5) if run.block == block]
        assert f"block {block}  {' '.join(arms)}" in " ".join(shown(where).split()).replace(
            f"block {block} ", f"block {block}  "
        )


def test_where_every_workload_is_a_process_a_plan_has_a_line_for_each() -> None:
    suite = load("acceptance").select("rpc_ping|fedavg")
    where = console(120)
    print_plan(suite, 0, where)
    lines = [line.split() for line in shown(where).splitlines() if line.startswith("  block")]
    first = plan(suite, 0)[0]
    assert lines[0][:4] == ["block", "1", first.workloads[0].name, first.arm.name]
    assert len(lines) == 2 * suite.blocks


def test_a_plan_without_criteria_says_so(small: Suite) -> None:
    where = console()
    print_plan(small.select("nothing"), 0, where)
    assert shown(where).rstrip().endswith("Criteria\n  none")


# verdict


def test_the_verdict_is_the_last_line_below_the_criteria_and_warnings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = console()
    monkeypatch.chdir(tmp_path)
    folder = Path("results/a")
    folder.mkdir(parents=True)
    (folder / "report.html").write_text("")
    print_verdict(fake_run(), folder, where, where)
    lines = shown(where).splitlines()
    assert lines[-1] == (
        "FAIL: 1 contaminated, 1 fail, 2 inconclusive, 7 pass; first failed: memory — results/a/report.html"
    )
    assert lines[-2].startswith("warning: the checkout has uncommitted changes")
    assert any("latency-rpc" in line for line in lines)


def test_a_run_without_criteria_has_the_verdict_alone() -> None:
    where = console()
    print_verdict(bare_run(), Path("a"), where, where)
    assert shown(where) == "NOTHING RAN: no cell was measured — a\n"  # there is no page of it


def test_a_quiet_console_leaves_the_verdict() -> None:
    last = console()
    print_verdict(fake_run(), Path("a"), Console(quiet=True), last)
    assert len(shown(last).splitlines()) == 1


def test_a_plan_tells_the_time_of_each_arm_in_all_and_at_most(small: Suite) -> None:
    where = console(120)
    suite = replace(small.limit(7.0), blocks=3)
    print_plan(suite, 0, where, budget_s=90.0)
    runs = plan(suite, 0)
    text = " ".join(shown(where).split())
    for name in suite.arms:
        takes = duration(expected_s([run for run in runs if run.arm.name == name]))
        assert f" {name} {takes} " in text
    cells = sum(len(run.workloads) for run in runs)
    longest = duration(7.0 * cells + TREE_S * len(runs))
    assert f"Time in all about {duration(expected_s(runs))}; {longest} if each cell took its timeout" in text
    assert "nothing starts after 1 min 30 s" in text


def test_the_plan_of_a_resumed_run_has_what_is_missing_alone(small: Suite) -> None:
    where = console(120)
    runs = plan(small, 0)[-1:]
    print_plan(small, 0, where, runs=runs)
    assert shown(where).startswith("smoke: 1 block, 1 worker, ")
    assert f"about {duration(expected_s(runs))}" in shown(where).splitlines()[0]


def test_a_time_is_refused_by_the_option_it_stands_in() -> None:
    with pytest.raises(ConfigError, match="--timeout: 'soon' is no time"):
        parse_duration("soon", "--timeout")
