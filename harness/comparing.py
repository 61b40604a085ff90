"""The commands that compare: ``compare``, ``check``, ``ab``, ``aa`` and ``baseline``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from harness.terminal import command_line, err, out

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.records.schema import ComparisonRecord

AA_BLOCKS = 96
"""Base runs that a calibration collects, if the time allows."""

app = typer.Typer()
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Say only what went wrong, and the verdict.")]
Format = Annotated[
    Literal["text", "json", "md", "html", "junit", "github", "comment"],
    typer.Option("--format", help="How the answer is written."),
]
AnswerFile = Annotated[
    Path | None, typer.Option("-o", "--output", help="Write the answer to this file, and text here.")
]
Thresholds = Annotated[
    list[str] | None,
    typer.Option("--threshold", help="What matters: METRIC=SHARE, such as cpu_s_per_op=20%."),
]
FailOn = Annotated[
    Literal["regressed", "inconclusive"],
    typer.Option(help="regressed: inconclusive passes (0, not 4), but for what the candidate lacks."),
]
Runs = Annotated[
    list[Path], typer.Argument(metavar="RUN", help="Folder of a run, or JSON files of pytest-benchmark.")
]


@app.command()
def compare(
    base: Annotated[Path, typer.Argument(help="Folder of the run that is the base.")],
    candidate: Annotated[Path, typer.Argument(help="Folder of the run that is compared with it.")],
    form: Format = "text",
    output: AnswerFile = None,
    threshold: Thresholds = None,
    fail_on: FailOn = "inconclusive",
) -> None:
    """Compare two stored runs of this class of machines, metric by metric."""
    from harness.comparisons import Asked, compare_runs

    _answer(compare_runs(base, candidate, Asked(command_line(), threshold or [], fail_on)), form, output)


@app.command()
def check(
    run_folder: Runs,
    baseline: Annotated[str, typer.Option(help="Name of the baseline.")],
    form: Format = "text",
    output: AnswerFile = None,
    threshold: Thresholds = None,
    fail_on: FailOn = "inconclusive",
) -> None:
    """Check a run against a baseline: 1 if anything regressed, 4 if that cannot be told of something."""
    from harness.comparisons import Asked, check_run

    _answer(check_run(run_folder, baseline, Asked(command_line(), threshold or [], fail_on)), form, output)


@app.command()
def ab(
    ref_a: Annotated[str, typer.Argument(metavar="REF_A", help="Revision that is the base.")],
    ref_b: Annotated[str, typer.Argument(metavar="REF_B", help="Revision that is compared with it.")],
    suite: Annotated[str, typer.Option(help="Suite that both run.")] = "check",
    blocks: Annotated[
        int | None, typer.Option(min=1, help="Blocks of a batch; by default what `fedbench aa` found, or 12.")
    ] = None,
    form: Format = "text",
    output: AnswerFile = None,
    threshold: Thresholds = None,
    fail_on: FailOn = "inconclusive",
    fresh_environments: Annotated[
        bool, typer.Option("--fresh-environments", help="Make the environments anew, and keep none.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Measure two git revisions in turn on this machine and compare them: what CI should use."""
    from harness.comparisons import Asked, compare_revisions

    asked = Asked(command_line(), threshold or [], fail_on, fresh_environments)
    _answer(compare_revisions((ref_a, ref_b), suite, blocks, asked, _say(quiet)), form, output)


@app.command()
def aa(
    minutes: Annotated[float, typer.Option(min=1, max=30, help="Most time to collect base runs.")] = 25.0,
    comparisons: Annotated[int, typer.Option(min=30, help="Comparisons to draw of each kind.")] = 300,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Collect base runs although there are some.")
    ] = False,
    run_folder: Annotated[
        Path | None, typer.Option("--run", help="Take the blocks of this run of the suite check.")
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="Parent of the run's folder.")] = Path(
        "results"
    ),
    quiet: Quiet = False,
) -> None:
    """Measure how often comparisons err here: alarms without a change, changes without an alarm."""
    from dataclasses import replace

    from harness.calibrating import CALIBRATED, calibrate_here
    from harness.progress import create_progress
    from harness.run.runner import Request, run_suite
    from harness.stacks.registry import check_settings, stack_names
    from harness.suitefile import load_suite
    from harness.workloads.registry import catalogue

    def collect() -> Path:
        suite = replace(
            load_suite(CALIBRATED, catalogue(), stack_names(), check=check_settings), blocks=AA_BLOCKS
        )
        with create_progress(out, -1 if quiet else 0) as progress:
            request = Request(suite, 0, output, command_line(), minutes * 60)
            _, folder = run_suite(request, progress)
        return folder

    raise typer.Exit(calibrate_here(collect, comparisons, out, fresh=fresh, run=run_folder))


baselines = typer.Typer(help="Keep runs under a name, to check later ones against.", no_args_is_help=True)


@baselines.command(name="set")
def baseline_set(
    name: Annotated[str, typer.Argument(help="Name of the baseline.")],
    run_folder: Runs,
    replace_old: Annotated[bool, typer.Option("--replace", help="Replace the one of that name.")] = False,
) -> None:
    """Keep a run as a baseline under results/baselines/, which is committed."""
    from harness.comparisons import read_any
    from harness.regression.baselines import set_baseline

    folder = set_baseline(name, read_any(run_folder), replace_old=replace_old)
    out.print(f"kept in {folder}", markup=False, highlight=False)


@baselines.command(name="list")
def baseline_list() -> None:
    """List the baselines: name, suite, commit and class of machines."""
    from harness.comparisons import print_baselines

    print_baselines(out)


@baselines.command(name="rm")
def baseline_rm(name: Annotated[str, typer.Argument(help="Name of the baseline.")]) -> None:
    """Remove a baseline."""
    from harness.regression.baselines import remove_baseline

    remove_baseline(name)
    out.print(f"removed baseline {name}", markup=False, highlight=False)


def _answer(record: ComparisonRecord, form: str, output: Path | None) -> NoReturn:
    from harness.console import print_comparison

    print_comparison(record, form, output, out)
    if output is not None:
        print_comparison(record, "text", None, out)
    raise typer.Exit(record.exit_code)


def _say(quiet: bool) -> Callable[[str], None]:
    def say(line: str) -> None:
        if not quiet:
            err.print(line, markup=False, highlight=False, soft_wrap=True)

    return say
