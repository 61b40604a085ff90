import json
import os
import signal
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

from harness import cli, invocation
from harness.report.comparison import render_comparison
from harness.suitefile import suite_names
from tests.fakes.comparisons import fake_comparison

SUITE = """
title: Floors
blocks: {blocks}
workloads:
  floor: {{operations: 300}}
  idle: {{workload: idle_federation, clients: 2, idle_s: 0.05, settle_s: 0.01}}
arms:
  floors: {{workloads: [{workload}]}}
criteria:
  - {{id: fast, arm: floors, metric: latency_p50_s,
     kind: {kind}, target: {target}, workload: {workload}{more}}}
"""


@pytest.fixture
def suite(tmp_path: Path) -> Callable[..., Path]:
    """Write a suite with one criterion, which holds."""

    def write(kind: str = "at_most", target: float | str = 10.0, blocks: int = 1, **more: str) -> Path:
        path = tmp_path / "floors.yaml"
        values = {"workload": "floor", "more": "", **more}
        path.write_text(SUITE.format(kind=kind, target=target, blocks=blocks, **values))
        return path

    return write


# what runs nothing


def test_the_version_is_that_of_the_package(fedbench) -> None:
    assert fedbench("--version") == (0, f"fedbench {version('fedbench')}\n", "")


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",), ("--",)])
def test_help_lists_the_commands(fedbench, arguments: tuple[str, ...]) -> None:
    done = fedbench(*arguments)
    assert done.code == (0 if arguments else 2)
    for command in ("run", "report", "federate", "list"):
        assert command in done.out + done.err


def test_the_list_names_everything_there_is(fedbench) -> None:
    done = fedbench("list")
    assert done.code == 0
    for name in (*suite_names(), "push polling floors", "rpc_ping", "latency_p50_s"):
        assert name in done.out


def test_a_dry_run_prints_the_plan_and_runs_nothing(fedbench, tmp_path: Path) -> None:
    done = fedbench("run", "quick", "--dry-run", "--blocks", 3, "--seed", 4, "-o", tmp_path / "results")
    assert done.code == 0
    assert done.out.startswith("quick: 3 blocks, 40 workers, memory+process+network, seed 4, about ")
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("options", "blocks"),
    [((), 3), (("--quick",), 5), (("--rigorous",), 20), (("--rigorous", "--blocks", 2), 2)],
)
def test_presets_choose_the_blocks(fedbench, suite, options: tuple[object, ...], blocks: int) -> None:
    assert f": {blocks} blocks, " in fedbench("run", suite(blocks=3), "--dry-run", *options).out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("quik",), "quik:\n  is no suite; did you mean 'quick'?"),
        (("no/such.yaml",), "no/such.yaml:\n  cannot be read"),
        (("smoke", "--set", "operations=3.5"), "--set:\n  operations=3.5: expected a whole number"),
        (("smoke", "--set", "clients"), "write [workload.]param=value"),
        (("smoke", "--set", "rpc_pong.clients=3"), "did you mean 'rpc_ping'"),
        (("smoke", "--set", "clients=-1", "--set", "clients=many"), "clients=many: expected a whole number"),
        (("smoke", "-k", "push("), "-k:\n  'push(' is no regular expression"),
        (("smoke", "--budget", "soon"), "--budget:\n  'soon' is no time: write 90s, 5m or 1h"),
        (("smoke", "--timeout", "0s"), "--timeout:\n  '0s' is no time: write 90s, 5m or 1h"),
        (("--resume", "no/such"), "--resume:\n  no/such is no folder: name the folder of a run"),
        (("a\0b",), "is no suite"),
        (("smoke", "--quick", "--rigorous"), "--quick:\n  contradicts --rigorous: give one of them"),
        (("smoke", "--blocks", "0"), "--blocks"),
        (("smoke", "--seed", "-1"), "--seed"),
        (("smoke", "--fast"), "No such option: --fast"),
        (("smoke", "smoke"), "unexpected extra argument"),
    ],
)
def test_a_wrong_argument_is_explained(fedbench, arguments: tuple[str, ...], message: str) -> None:
    done = fedbench("run", *arguments)
    assert done.code == 2
    assert message in done.err
    assert "Traceback" not in done.err
    assert done.out == ""


def test_an_unknown_command_is_a_wrong_argument(fedbench) -> None:
    assert fedbench("runn")[0] == 2


# runs


@pytest.mark.slow
def test_a_run_ends_with_verdict_reason_and_report(fedbench, suite, tmp_path: Path) -> None:
    done = fedbench("run", suite(), "-o", tmp_path / "results")
    (folder,) = (tmp_path / "results").iterdir()
    assert done.code == 0
    assert done.last == f"PASS: 1 pass — {folder / 'report.html'}"
    lines = [line for line in done.out.splitlines() if not line.startswith("warning: ")]
    assert lines[:2] == ["1 worker, about 0 s", "1/1 block 1 floors done"]
    assert "fast" in done.out
    command = json.loads((folder / "run.json").read_bytes())["command"]
    assert command == f"fedbench run {tmp_path}/floors.yaml -o {tmp_path}/results"


@pytest.mark.slow
def test_what_disturbs_already_is_said_before_a_run(
    fedbench, suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(invocation, "told_before", lambda: ["somebody [red]computes"])
    lines = fedbench("run", suite(), "-o", tmp_path).out.splitlines()
    assert lines[:2] == ["warning: somebody [red]computes", "1 worker, about 0 s"]
    assert "somebody" not in fedbench("run", suite(), "-o", tmp_path, "-q").out


@pytest.mark.slow
@pytest.mark.usefixtures("undisturbed")
@pytest.mark.parametrize(
    ("write", "options", "code", "verdict"),
    [
        ({"target": "0.000000001"}, (), 1, "FAIL: 1 fail; first failed: fast"),
        ({"workload": "idle"}, (), 5, "NOTHING RAN: no cell was measured: 1 were unsupported"),
        (
            {"kind": "ratio", "target": 1.0, "more": ", against: floors"},
            (),
            4,
            "INCONCLUSIVE: 1 inconclusive",
        ),
        ({}, ("-k", "nothing"), 5, "NOTHING RAN: no cell was measured"),
        ({"blocks": 3}, ("--budget", "0.000001s"), 6, "BUDGET EXHAUSTED: 1 cells were measured and kept"),
    ],
)
def test_the_exit_code_says_how_it_ended(
    fedbench, suite, tmp_path: Path, write, options, code: int, verdict: str
) -> None:
    done = fedbench("run", suite(**write), "-o", tmp_path, *options)
    assert (done.code, done.last.split(" — ")[0]) == (code, verdict)


@pytest.mark.slow
def test_a_stack_that_fails_is_named_even_when_quiet(fedbench, tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(
        "blocks: 1\n"
        "workloads: {digits: {workload: digits_training, clients: 2, rounds: 1, least_accuracy: 0.999}}\n"
        "arms: {push: {workloads: [digits]}}\n"
    )
    done = fedbench("run", path, "-o", tmp_path, "-q")
    first, last = done.out.splitlines()
    assert done.code == 3
    assert first.startswith("  push digits: failed: accuracy 0.")
    assert last.startswith("FAILED: 1 cells failed, first push digits in block 1: accuracy 0.")


@pytest.mark.slow
def test_quiet_prints_the_verdict_and_verbose_every_workload(fedbench, suite, tmp_path: Path) -> None:
    quiet = fedbench("run", suite(), "-o", tmp_path, "-q").out
    assert len(quiet.splitlines()) == 1
    assert "  floors floor: ok, 300 operations in " in fedbench("run", suite(), "-o", tmp_path, "-v").out


def test_a_place_that_is_no_folder_is_a_wrong_argument(fedbench, suite) -> None:
    path = suite()
    done = fedbench("run", path, "-o", path, "-q")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"--output:\n  no folder can be made in {path}: ")


# federations


@pytest.mark.slow
@pytest.mark.usefixtures("may_block")
def test_a_federation_is_run_from_a_file(fedbench, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("server: {trainer: {args: {rounds: 1}}}\nclients: {count: 2}\n")
    done = fedbench("federate", config, "--log-dir", tmp_path / "logs")
    assert (done.code, done.err) == (0, "")
    assert done.last.startswith("1 rounds in ")
    assert fedbench("federate", config, "-q") == (0, "", "")


def test_a_federation_that_is_not_there_is_a_wrong_argument(fedbench, tmp_path: Path) -> None:
    done = fedbench("federate", tmp_path / "config.yaml")
    assert done.code == 2
    assert "cannot be read" in done.err


# reports


@pytest.mark.slow
def test_a_report_is_rendered_again_as_it_was(fedbench, suite, tmp_path: Path) -> None:
    run = fedbench("run", suite(), "-o", tmp_path / "results", "-q")
    (folder,) = (tmp_path / "results").iterdir()
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    (folder / "report.md").write_text("gone")
    done = fedbench("report", folder)
    assert done.code == 0
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert done.last == run.last


@pytest.mark.slow
def test_the_report_of_a_run_of_nothing_is_rendered_again(fedbench, suite, tmp_path: Path) -> None:
    fedbench("run", suite(), "-o", tmp_path / "results", "-k", "nothing")
    (folder,) = (tmp_path / "results").iterdir()
    assert fedbench("report", folder)[0] == 0


def test_a_comparison_is_rendered_in_any_format(fedbench, tmp_path: Path) -> None:
    path, page = tmp_path / "comparison.json", tmp_path / "comparison.html"
    path.write_text(render_comparison(fake_comparison(), "json"))
    assert fedbench("report", path).last.startswith("REGRESSED: ")
    assert fedbench("report", path, "--format", "html", "-o", page)[:2] == (0, "")
    assert page.read_text().startswith("<!DOCTYPE html>")
    refused = fedbench("report", path, "--format", "pdf")
    assert (refused.code, "no format 'pdf'" in refused.err) == (2, True)
    unwritable = fedbench("report", path, "-o", tmp_path / "missing" / "x")
    assert unwritable.code == 5
    assert "missing/x: No such file or directory" in unwritable.err


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (None, "is no folder: name the folder of a run"),
        ({}, "cannot be read"),
        ({"run.json": "{}"}, "schema version"),
        ({"run.json": "{"}, "is damaged"),
        ({"run.json": '{"schema_version": 1}'}, "is damaged"),
    ],
)
def test_a_folder_that_holds_no_run_is_explained(fedbench, tmp_path: Path, files, message: str) -> None:
    folder = tmp_path / "run"
    if files is not None:
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text)
    for command in ("report", "show"):
        done = fedbench(command, folder)
        assert done.code == 2
        assert message in done.err
        assert done.out == ""


@pytest.mark.slow
def test_a_run_is_shown_and_nothing_written(fedbench, suite, tmp_path: Path) -> None:
    run = fedbench("run", suite(), "-o", tmp_path / "results", "-q")
    (folder,) = (tmp_path / "results").iterdir()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    done = fedbench("show", folder)
    assert (done.code, done.last) == (0, run.last)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_old_runs_are_removed_only_by_a_rule_and_an_answer(fedbench, tmp_path: Path, monkeypatch) -> None:
    folder = tmp_path / "20200102T030405Z-quick-0a1b2c3"
    folder.mkdir()
    (folder / "run.json").write_text('{"ended": "complete"}')
    prune = ("results", "prune", "-o", tmp_path)
    assert "give --keep N, --older-than 30d, or both" in fedbench(*prune).err
    assert "'soon' is no age" in fedbench(*prune, "--older-than", "soon").err
    monkeypatch.setattr("sys.stdin", open(os.devnull))  # noqa: SIM115
    refused = fedbench(*prune, "--keep", 0)
    sys.stdin.close()
    assert (refused.code, folder.exists()) == (2, True)
    assert "nobody can be asked here: give --yes or --dry-run" in refused.err
    assert fedbench(*prune, "--older-than", "1d", "--dry-run").code == 0
    assert folder.exists()
    assert fedbench(*prune, "--older-than", "1d", "--yes").last.startswith("1 run removed")
    assert not folder.exists()


# signals and readers that go away


def test_terminate_interrupts_as_ctrl_c_does(fedbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.console.print_catalogue", lambda _: os.kill(os.getpid(), signal.SIGTERM))
    before = signal.getsignal(signal.SIGTERM)
    assert fedbench("list")[0] == 130
    assert signal.getsignal(signal.SIGTERM) is before


def test_terminate_interrupts_also_where_ctrl_c_is_ignored(fedbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.console.print_catalogue", lambda _: os.kill(os.getpid(), signal.SIGTERM))
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert fedbench("list")[0] == 130
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_hangup_ends_as_ctrl_c_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.console.print_catalogue", lambda _: os.kill(os.getpid(), signal.SIGHUP))
    monkeypatch.setattr(sys, "argv", ["fedbench", "list"])
    outside = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # these tests may run under nohup
    before = signal.getsignal(signal.SIGHUP)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 130
    assert signal.getsignal(signal.SIGHUP) is before
    signal.signal(signal.SIGHUP, outside)


def test_a_full_disk_is_one_line_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(_: object) -> None:
        raise OSError(28, "No space left on device", "results/run.json")

    monkeypatch.setattr("harness.console.print_catalogue", full)
    monkeypatch.setattr(sys, "argv", ["fedbench", "list"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 5
    assert capsys.readouterr().err.strip() == "results/run.json: No space left on device"


def test_a_hangup_that_is_ignored_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        monkeypatch.setattr("harness.console.print_catalogue", lambda _: os.kill(os.getpid(), signal.SIGHUP))
        monkeypatch.setattr(sys, "argv", ["nohup fedbench", "list"])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 0
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.slow
def test_a_run_out_of_budget_is_planned_and_resumed_to_its_verdict(fedbench, suite, tmp_path: Path) -> None:
    done = fedbench("run", suite(blocks=2), "-o", tmp_path / "results", "--budget", "0.001s")
    assert done.code == 6
    (folder,) = (tmp_path / "results").iterdir()
    planned = fedbench("run", "--resume", folder, "--dry-run")
    assert (planned.code, planned.out.splitlines()[0].split(",")[0]) == (0, "floors: 2 blocks")
    assert "1 worker, " in planned.out
    done = fedbench("run", "--resume", folder)
    assert (done.code, done.last.split(":")[0]) == (0, "PASS")
    again = fedbench("run", "--resume", folder)
    assert again.code == 2
    assert "is complete: there is nothing to resume" in again.err


@pytest.mark.slow
def test_a_cell_that_runs_into_its_timeout_is_said_and_the_rest_goes_on(
    fedbench, suite, tmp_path: Path
) -> None:
    done = fedbench("run", suite(blocks=2), "-o", tmp_path / "results", "--timeout", "0.000001s")
    assert done.code == 3
    assert (
        done.out.count("floors floor: timeout: it was not done within its timeout of 1e-06 s") == 4
    )  # each twice


def test_an_output_that_cannot_be_written_is_a_wrong_argument(fedbench, suite) -> None:
    done = fedbench("run", suite(), "-o", "/proc/nowhere")
    assert done.code == 2
    assert "--output:\n  no folder can be made in /proc/nowhere: " in done.err
