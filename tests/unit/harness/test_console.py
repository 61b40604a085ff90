from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from fedbench.errors import ConfigError
from harness.console import (
    parse_duration,
    print_catalogue,
    print_plan,
    print_verdict,
)
from harness.records.format import duration
from harness.records.metrics import METRICS
from harness.run.plan import TREE_S, expected_s, plan
from harness.stacks.registry import stack_names
from harness.suite import Suite
from harness.suitefile import load_suite, suite_names
from harness.workloads.registry import WORKLOADS, catalogue
from tests.fakes.results import bare_run, fake_run


def console(width: int = 80, *, terminal: bool = False) -> Console:
    return Console(file=StringIO(), width=width, force_terminal=terminal, no_color=True, record=True)


def shown(where: Console) -> str:
    return where.export_text(clear=False)


@pytest.fixture
def small() -> Suite:
    return load_suite("smoke", catalogue(), stack_names())


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


# plan and catalogue


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize(
    "print_it",
    [print_catalogue, *(lambda c, name=name: print_plan(load(name), 0, c) for name in suite_names())],
)
def test_everything_fits_the_terminal_and_no_word_is_broken(
    width: int, print_it: Callable[[Console], None]
) -> None:
    where, wide, pipe = console(width, terminal=True), console(1000, terminal=True), console(width)
    for each in (where, wide, pipe):
        print_it(each)
    assert max(map(len, shown(where).splitlines())) <= width
    assert shown(where).split() == shown(wide).split() == shown(pipe).split()


def test_without_a_terminal_the_catalogue_is_as_wide_as_its_longest_line() -> None:
    where = console(40)
    print_catalogue(where)
    parameters = " ".join(f"{name}={value}" for name, value in WORKLOADS["rpc_ping"].defaults.items())
    assert any(line.endswith(parameters) for line in shown(where).splitlines())


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
    takes = duration(expected_s(plan(suite, 5)))
    assert " ".join(shown(where).split()).startswith(
        f"quick: 6 blocks, 58 workers, memory+process+network, seed 5, about {takes}; "
        "what is then undecided goes on, up to 30 blocks or 7 min 00 s"
    )
    for block in range(1, 7):
        arms = [run.arm.name for run in plan(suite, 5) if run.block == block]
        assert f"block {block}  {' '.join(arms)}" in " ".join(shown(where).split()).replace(
            f"block {block} ", f"block {block}  "
        )


def test_where_every_workload_is_a_process_a_plan_has_a_line_for_each() -> None:
    suite = load("acceptance").select("/(rpc|round)$")
    where = console(120)
    print_plan(suite, 0, where)
    lines = [line.split() for line in shown(where).splitlines() if line.startswith("  block")]
    first = plan(suite, 0)[0]
    assert lines[0][:4] == ["block", "1", first.workloads[0].name, first.arm.name]
    assert len(lines) == 2 * suite.first_look


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
