"""The ``fedbench`` command."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from fedbench.errors import ConfigError, FedbenchError, Problem
from harness import comparing
from harness.acceptance.outcome import ExitCode
from harness.terminal import command_line, err, out

if TYPE_CHECKING:
    from types import FrameType


app = typer.Typer(
    name="fedbench",
    help="Run federations by push, and measure how they communicate.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_FIRST = (
    *(ExitCode.INTERRUPTED, ExitCode.USAGE, ExitCode.STACK_FAILED, ExitCode.NOTHING_RAN, ExitCode.BUDGET),
    *(ExitCode.FAILED, ExitCode.INCONCLUSIVE, ExitCode.OK),
)
"""Where several exit codes apply, the first of them is it."""

Quiet = comparing.Quiet
Verbose = Annotated[int, typer.Option("-v", "--verbose", count=True, help="Say more; twice for everything.")]


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Run federations by push, and measure how they communicate."""
    if version:
        from importlib.metadata import version as package_version

        out.print(f"fedbench {package_version('fedbench')}", highlight=False)
        raise typer.Exit
    if context.invoked_subcommand is None:
        out.print(context.get_help())


@app.command()
def doctor(
    clean: Annotated[bool, typer.Option("--clean", help="Remove what killed runs left behind.")] = False,
) -> None:
    """Show what process mode needs of this machine, and what killed runs have left on it."""
    from harness.doctor import examine

    raise typer.Exit(examine(out, clean=clean))


@app.command()
def federate(
    config: Annotated[Path, typer.Argument(help="YAML file of the federation.")],
    save: Annotated[Path | None, typer.Option(help="Write the final model to this .npz file.")] = None,
    init: Annotated[Path | None, typer.Option(help="Start from the model in this .npz file.")] = None,
    log_dir: Annotated[Path, typer.Option(help="Where each client's log goes, one file a client.")] = Path(
        "fedbench-logs"
    ),
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Run a federation from YAML, with live progress, and print its rounds and metrics."""
    from harness.federate import federate as run_federation

    run_federation(config, save, init, log_dir, _console(quiet), verbose)


@app.command()
def serve(
    config: Annotated[Path, typer.Option(help="YAML file of the federation; its mode is network.")],
    save: Annotated[Path | None, typer.Option(help="Write the final model to this .npz file.")] = None,
    init: Annotated[Path | None, typer.Option(help="Start from the model in this .npz file.")] = None,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Be the server of a federation whose clients join by hand, and train when all are there."""
    from harness.federate import serve as be_server

    be_server(config, save, init, _console(quiet), verbose)


@app.command()
def join(
    server: Annotated[str, typer.Option(help="Where the server is: https://host:port.")],
    client_id: Annotated[str, typer.Option("--id", help="Which client of the federation this is.")],
    server_id: Annotated[str, typer.Option(help="Id of the server.")] = "yaml_fed_server",
    learner: Annotated[str, typer.Option(help="A registered name, or module:Class.")] = "SimpleLearner",
    learner_args: Annotated[
        list[str] | None, typer.Option("--set", help="An argument of the learner: NAME=VALUE, in YAML.")
    ] = None,
    ca: Annotated[str | None, typer.Option(help="PEM file of the authorities that are trusted.")] = None,
    cert: Annotated[str | None, typer.Option(help="PEM file of this client's certificate.")] = None,
    key: Annotated[str | None, typer.Option(help="PEM file of its key.")] = None,
    token_file: Annotated[
        str | None, typer.Option(help="File of mode 0600 with this client's token.")
    ] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Speak to others without TLS.")] = False,
    retry: Annotated[
        bool, typer.Option("--retry", help="Join again when the server cannot be reached or was lost.")
    ] = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Be one client of a federation that `fedbench serve` runs, here or on another machine."""
    from harness.join import Joining, arguments, settings_of
    from harness.join import join as be_client

    settings = settings_of(server, ca=ca, cert=cert, key=key, token_file=token_file, insecure=insecure)
    joining = Joining(settings, server_id, client_id, learner, arguments(learner_args or []), retry)
    be_client(joining, _console(quiet), verbose)


@app.command()
def run(
    suite: Annotated[
        str | None, typer.Argument(help="A suite (see `fedbench list`) or a YAML file.", show_default="quick")
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="Parent of the run's folder.")] = Path(
        "results"
    ),
    quick: Annotated[bool, typer.Option("--quick", help="5 blocks: the fewest that decide.")] = False,
    rigorous: Annotated[
        bool, typer.Option("--rigorous", help="Twice the suite's blocks, at least 20.")
    ] = False,
    blocks: Annotated[int | None, typer.Option(min=1, help="Blocks to run.")] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of the order within each block.", show_default="0")
    ] = None,
    select: Annotated[str, typer.Option("-k", help="Only cells whose ARM/WORKLOAD matches this.")] = "",
    assignments: Annotated[
        list[str] | None, typer.Option("--set", help="Change a parameter: [WORKLOAD.]NAME=VALUE.")
    ] = None,
    budget: Annotated[str, typer.Option(help="Start nothing after this time: 90s, 5m, 1h.")] = "",
    timeout: Annotated[str, typer.Option(help="End each cell that takes longer: 90s, 5m, 1h.")] = "",
    resume: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Go on with a run that broke off: its folder.")
    ] = None,
    profile: Annotated[
        bool, typer.Option("--profile", help="Draw a flame graph of each arm, by py-spy, in block 1.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan, run nothing.")] = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Run a suite, decide its criteria and write the report."""
    from harness.calibrating import rates_here
    from harness.console import parse_duration, print_plan, print_verdict
    from harness.invocation import Invocation, asked_for, resumed, told_before
    from harness.progress import create_progress
    from harness.report.firsts import watched
    from harness.run.folder import Unsaved
    from harness.run.runner import Request, missing, resume_suite, run_suite

    timeout_s = parse_duration(timeout, "--timeout") if timeout else None
    budget_s = parse_duration(budget) if budget else None
    invocation = Invocation(suite, quick, rigorous, blocks, seed, select, tuple(assignments or ()), timeout_s)
    asked = asked_for(invocation) if resume is None else resumed(resume, invocation)
    budget_s = asked.suite.budget_s if budget_s is None else budget_s
    if dry_run:
        print_plan(asked.suite, asked.seed, out, budget_s=budget_s, runs=missing(asked, resume))
        return
    for line in [] if quiet else told_before():
        out.print(f"warning: {line}", markup=False, highlight=False, soft_wrap=True)
    try:
        with create_progress(
            out, -1 if quiet else verbose, watched(asked.suite), limit_s=asked.suite.time_s
        ) as progress:
            if resume is None:
                request = Request(
                    asked.suite, asked.seed, output, command_line(), budget_s, profile, rates_here()
                )
                record, folder = run_suite(request, progress)
            else:
                record, folder = resume_suite(
                    resume, asked, progress, budget_s=budget_s, profile=profile, rates=rates_here()
                )
    except Unsaved as error:
        if error.record is not None:
            print_verdict(error.record, error.folder, _console(quiet), out)
        raise
    print_verdict(record, folder, _console(quiet), out)
    raise typer.Exit(record.exit_code)


@app.command()
def report(
    run_folder: Annotated[
        Path, typer.Argument(metavar="RUN", help="Folder of a run, or the JSON file of a comparison.")
    ],
    format: Annotated[
        str, typer.Option("--format", help="Of a comparison: text, json, md, html, junit, github, comment.")
    ] = "text",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="File for a comparison, in place of printing it.")
    ] = None,
) -> None:
    """Render the report of a run again and print its criteria, or render a comparison."""
    from harness.calibrating import rates_here
    from harness.console import print_comparison, print_verdict
    from harness.records.comparisons import read_comparison
    from harness.report.render import render
    from harness.results import damaged, read
    from harness.run.folder import Unsaved, saving

    if run_folder.is_file():
        print_comparison(read_comparison(run_folder), format, output, out)
        return
    record, observations = read(run_folder)
    try:
        with saving(run_folder, "report"):
            render(record, observations, run_folder, rates_here())
    except ValueError as error:
        raise damaged(run_folder, error) from error
    except Unsaved as error:
        error.record = record
        print_verdict(record, run_folder, out, out)
        raise
    print_verdict(record, run_folder, out, out)


app.registered_commands += comparing.app.registered_commands
app.add_typer(comparing.baselines, name="baseline")


@app.command()
def show(run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")]) -> None:
    """Print a run: its cells, criteria and verdict. Writes nothing."""
    from harness.archive import print_run
    from harness.results import read

    print_run(read(run_folder)[0], run_folder, out)


results_app = typer.Typer(help="Look after stored runs.", no_args_is_help=True)
app.add_typer(results_app, name="results")


@results_app.command()
def prune(
    keep: Annotated[int | None, typer.Option(min=0, help="The newest so many runs stay.")] = None,
    older_than: Annotated[str, typer.Option(help="Only runs older than this go: 12h, 30d, 8w.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, remove nothing.")] = False,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")] = False,
    output: Annotated[Path, typer.Option("-o", "--output", help="Parent of the runs' folders.")] = Path(
        "results"
    ),
) -> None:
    """Remove old runs; baselines, and whatever is no run, stay."""
    from harness.archive import prune_runs
    from harness.prune import parse_age

    if keep is None and not older_than:
        raise ConfigError("results prune", [Problem("", "give --keep N, --older-than 30d, or both")])
    age = parse_age(older_than) if older_than else None
    ask = None if yes else _confirmed
    prune_runs(output, keep, age, out, ask=ask, dry_run=dry_run)


def _confirmed(question: str) -> bool:
    if not sys.stdin.isatty():
        raise ConfigError("results prune", [Problem("", "nobody can be asked here: give --yes or --dry-run")])
    return typer.confirm(question)


@app.command(name="list")
def list_all() -> None:
    """List suites, stacks, workloads with their parameters, and metrics."""
    from harness.console import print_catalogue

    print_catalogue(out)


def main() -> None:
    """Run the command line; every expected error is a message and an exit code, never a traceback."""
    ending = [signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup wants it ignored
        ending.append(signal.SIGHUP)
    before = {number: signal.signal(number, _interrupt) for number in ending}
    try:
        app()
    except ConfigError as error:
        err.print(f"{error.source}:", style="bold red", markup=False, highlight=False)
        for problem in error.problems:
            err.print(f"  {problem}", markup=False, highlight=False, soft_wrap=True)
        sys.exit(_code_of(error))
    except FedbenchError as error:
        err.print(str(error), style="bold red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(ExitCode.STACK_FAILED)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        where = f"{error.filename}: " if error.filename else ""
        err.print(f"{where}{error.strerror or error}", markup=False, highlight=False, soft_wrap=True)
        sys.exit(ExitCode.NOTHING_RAN)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _code_of(error: ConfigError) -> ExitCode:
    from harness.regression.baselines import NoBaseline
    from harness.run.folder import Unsaved

    if isinstance(error, Unsaved):
        verdict = ExitCode(error.record.exit_code) if error.record else ExitCode.OK
        return min(verdict, ExitCode.BUDGET if error.kept else ExitCode.NOTHING_RAN, key=_FIRST.index)
    return ExitCode.NOTHING_RAN if isinstance(error, NoBaseline) else ExitCode.USAGE


def _interrupt(_: int, frame: FrameType | None) -> None:
    """End as Ctrl-C does, also where that is ignored, as it is for a job in the background."""
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler):
        raise KeyboardInterrupt
    handler(signal.SIGINT, frame)


def _console(quiet: bool) -> Console:
    return Console(quiet=True) if quiet else out
