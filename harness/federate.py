"""``fedbench federate``: run one federation for its own sake."""

from __future__ import annotations

import logging
import os
import traceback
import zlib
from typing import TYPE_CHECKING
from zipfile import BadZipFile, ZipFile, is_zipfile

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fedbench.errors import ConfigError, FedbenchError, Problem, QuorumNotReached, UnfitModel
from fedbench.federation import Federation
from fedbench.loop import run
from fedbench.tensors.model import ModelState
from harness.acceptance.outcome import ExitCode
from harness.nodelogs import NodeLogs

if TYPE_CHECKING:
    from pathlib import Path

    from fedbench.values import History, RoundRecord

NAMED = 5
"""So many of the clients that failed for one reason are named, the others counted."""

_LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)


def serve(config: Path, save: Path | None, init: Path | None, console: Console, verbose: int) -> None:
    """Be the server of a YAML file whose clients join by hand; print who joins, then as :func:`federate`.

    Raises:
        ConfigError, typer.Exit: As for :func:`federate`, or the file's mode is not ``network``.
    """

    def told(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    federation = Federation.from_yaml(config, by_hand=told)
    if federation.config.mode != "network":
        raise ConfigError(
            str(config), [Problem("mode", "clients join by hand in network mode only: use 'network'")]
        )
    initial = None if init is None else load_model(init)
    if save is not None:
        _check_place(save)
    logging.basicConfig(level=_LEVELS[min(verbose, 2)], format="%(asctime)s %(levelname)s %(message)s")
    _finish(federation, _train(federation, initial, console, verbose), save, console)


def federate(
    config: Path, save: Path | None, init: Path | None, log_dir: Path, console: Console, verbose: int
) -> None:
    """Run the federation of a YAML file and print its rounds and metrics.

    Raises:
        ConfigError: The configuration, the initial model or the place to save is wrong.
        typer.Exit: Training failed (3) or was interrupted (130); the model so far is saved all the same.
    """
    federation = Federation.from_yaml(config)
    initial = None if init is None else load_model(init)
    if save is not None:
        _check_place(save)
    if log_dir.exists() and not log_dir.is_dir():
        raise ConfigError("--log-dir", [Problem("", f"{log_dir} is a file: name a folder")])
    clients = [client.client_id for client in federation.config.clients]
    with NodeLogs(log_dir, clients, _LEVELS[min(verbose, 2)]) as logs:
        code = _train(federation, initial, console, verbose)
    if logs.written:
        console.print(
            f"{len(logs.written)} clients logged to {log_dir}", markup=False, highlight=False, soft_wrap=True
        )
    _finish(federation, code, save, console)


def _finish(federation: Federation, code: ExitCode, save: Path | None, console: Console) -> None:
    """Save the model so far and end with ``code`` unless it is 0."""
    if save is not None and federation.global_model is not None:
        save_model(save, federation.global_model)
        version = federation.global_model.version
        console.print(
            f"saved model version {version} to {save}", markup=False, highlight=False, soft_wrap=True
        )
    if code is not ExitCode.OK:
        raise typer.Exit(code)


def load_model(path: Path) -> ModelState:
    """Read a model from an ``.npz`` file.

    Raises:
        ConfigError: It cannot be read, or holds no model.
    """
    try:
        with path.open("rb") as file:
            if not is_zipfile(file):
                raise ValueError("it is no .npz file")
            file.seek(0)
            arrays = np.load(file, allow_pickle=False)
            return ModelState.from_arrays({name: arrays[name] for name in arrays.files})
    except OSError as error:
        raise ConfigError(str(path), [Problem("", f"cannot be read: {error.strerror}")]) from error
    except (ValueError, TypeError, AttributeError, EOFError, BadZipFile, zlib.error) as error:
        raise ConfigError(str(path), [Problem("", f"holds no model: {error}")]) from error


def _check_place(path: Path) -> None:
    folder = path.resolve().parent
    if not folder.is_dir():
        problem = f"the folder of {path} does not exist: make it first"
    elif path.is_dir():
        problem = f"{path} is a folder: name a file in it"
    elif not os.access(folder, os.W_OK):
        problem = f"nothing can be written into the folder of {path}"
    else:
        return
    raise ConfigError("--save", [Problem("", problem)])


def save_model(path: Path, model: ModelState) -> None:
    """Write a model's arrays by name to an ``.npz`` file, which is the old or the new one at any time."""
    temporary = path.with_name(f".{path.name}")
    try:
        with ZipFile(temporary, "w") as members:  # np.savez would take arrays named "file" for its own
            for name, array in model.items():
                with members.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _train(federation: Federation, initial: ModelState | None, console: Console, verbose: int) -> ExitCode:
    config = federation.config
    total: int = config.server.trainer.args["rounds"]
    columns = (
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("rounds"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    console.print(
        f"{len(config.clients)} clients, {total} rounds, {config.mode} mode, {config.architecture}",
        highlight=False,
    )
    shown = console.is_terminal and not console.quiet
    with Progress(*columns, console=console, transient=True, disable=not shown) as bar:
        task = bar.add_task("training", total=total)

        def on_round(record: RoundRecord) -> None:
            console.print(_line(record, total), markup=False, highlight=False, soft_wrap=True)
            bar.advance(task)

        try:
            history = run(federation.run(on_round=on_round, initial_model=initial), config.loop)
        except KeyboardInterrupt:
            console.print("interrupted", highlight=False)
            return ExitCode.INTERRUPTED
        except UnfitModel as error:
            raise ConfigError("--init", [Problem("", str(error))]) from error
        except FedbenchError as error:
            _report(error, verbose)
            return ExitCode.STACK_FAILED
    console.print(_summary(history), markup=False, highlight=False, soft_wrap=True)
    return ExitCode.OK


def _report(error: FedbenchError, verbose: int) -> None:
    """Say on stderr what went wrong, with ``verbose`` also where in the code of somebody else."""
    stderr = Console(stderr=True)
    if verbose and error.__cause__ is not None:
        traced = "".join(traceback.format_exception(error.__cause__))
        stderr.print(traced, end="", markup=False, highlight=False, soft_wrap=True)
    text = _missed(error) if isinstance(error, QuorumNotReached) else str(error)
    stderr.print(f"failed: {text}", markup=False, highlight=False, soft_wrap=True)


def _missed(error: QuorumNotReached) -> str:
    """Return what the error says, with every reason once, behind the clients that have it."""
    clients: dict[str, list[str]] = {}
    for client_id, reason in error.failures.items():
        own = reason.removeprefix(f"lost {client_id}: ").removeprefix(f"{client_id} ")
        clients.setdefault(own, []).append(client_id)
    reasons = "; ".join(f"{_named(ids)}: {reason}" for reason, ids in clients.items())
    return (
        f"round {error.round_number}: {error.arrived} of the required {error.required} updates arrived "
        f"({reasons})"
    )


def _named(client_ids: list[str]) -> str:
    more = len(client_ids) - NAMED
    names = ", ".join(client_ids[:NAMED])
    return f"{names} and {more} more" if more > 0 else names


def _line(record: RoundRecord, total: int) -> str:
    return (
        f"round {record.number:>{len(str(total))}}/{total}  "
        f"{len(record.arrived)}/{len(record.selected)} clients  {record.round_s * 1e3:8.1f} ms  "
        f"{_metrics(record.metrics)}"
    )


def _summary(history: History) -> str:
    total_s = sum(record.round_s for record in history.rounds)
    failures = sum(len(record.failures) for record in history.rounds)
    return (
        f"{len(history.rounds)} rounds in {total_s:.2f} s, {failures} updates missing; "
        f"{_metrics(history.metrics)}"
    )


def _metrics(metrics: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())
