"""Which stored runs may go, and their removal. Nothing but the folders of runs is ever touched."""

from __future__ import annotations

import contextlib
import re
import shutil
import stat
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from fedbench.errors import ConfigError, Problem
from harness.records.lock import Held, held, is_held
from harness.records.store import RUN, UNDECODABLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

_NAME = re.compile(r"(\d{8}T\d{6}Z)-.+", re.ASCII)
_AGES = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
STILL_RUNS_S = 900.0
"""A run that has not ended and whose record is younger than this may still be going on where nobody holds it.

Another machine may measure into a shared folder, and some file systems know no locks.
"""


class Stored(NamedTuple):
    """The folder of a run.

    Attributes:
        started: When the run began, as its name says.
        going_on: Whether it may still be running.
        size_bytes: What its files take.
    """

    folder: Path
    started: datetime
    going_on: bool
    size_bytes: int


class Pruning(NamedTuple):
    """What to do with the runs of a folder.

    Attributes:
        remove: Oldest first.
        keep: Oldest first.
    """

    remove: Sequence[Stored]
    keep: Sequence[Stored]


def parse_age(text: str) -> timedelta:
    """Return an age such as ``12h``, ``30d`` or ``8w``.

    Raises:
        ConfigError: It is none.
    """
    match = re.fullmatch(r"(\d{1,5})\s*([hdw])", text.strip(), re.ASCII)
    if not match:
        raise ConfigError("--older-than", [Problem("", f"{text!r} is no age: write 12h, 30d or 8w")])
    return int(match[1]) * _AGES[match[2]]


def stored_runs(results: Path) -> list[Stored]:
    """Return the runs right below a folder, oldest first.

    A run is a folder, not a link to one, that is named as runs are and holds a ``run.json``; so baselines and
    whatever else lies there are none.

    Raises:
        ConfigError: There is no such folder, or it cannot be read.
    """
    try:
        found = [_stored(path) for path in results.iterdir() if _is_run(path)]
    except OSError as error:
        message = f"cannot be read: {error.strerror}; name the folder that holds runs with --output"
        raise ConfigError(str(results), [Problem("", message)]) from error
    return sorted(found, key=lambda run: (run.started, run.folder.name))


def choose(runs: Sequence[Stored], keep: int | None, older_than: timedelta | None, now: datetime) -> Pruning:
    """Return which runs go: those beyond the newest ``keep`` and older than ``older_than``. Pure.

    A run that may still be going on stays.

    Args:
        runs: Oldest first.
        keep: How many of the newest stay, None for no such rule.
        older_than: Age from which a run may go, None for no such rule.
        now: The time it is.
    """
    beyond = runs if keep is None else runs[: max(0, len(runs) - keep)]
    remove = [
        run for run in beyond if not run.going_on and (older_than is None or now - run.started > older_than)
    ]
    gone = {run.folder for run in remove}
    return Pruning(remove, [run for run in runs if run.folder not in gone])


def remove(runs: Iterable[Stored]) -> Iterable[Stored]:
    """Remove runs one by one and return each when it is gone. A link in a run's folder goes, not its target.

    A run that somebody measures into by now, or that is gone already, is left out.

    Raises:
        OSError: A file cannot be removed; the runs before it are gone.
    """
    for run in runs:
        if not _is_run(run.folder):  # somebody has put a link in its place since
            continue
        try:
            with held(run.folder):
                shutil.rmtree(run.folder)
        except Held:
            continue
        yield run


def _is_run(path: Path) -> bool:
    record = path / RUN
    return (
        started_of(path.name) is not None
        and not path.is_symlink()
        and path.is_dir()
        and not record.is_symlink()
        and record.is_file()
    )


def started_of(name: str) -> datetime | None:
    """Return when the run of that name began; None where no run is named so."""
    match = _NAME.fullmatch(name)
    try:
        return datetime.strptime(match[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) if match else None
    except ValueError:
        return None


def _stored(folder: Path) -> Stored:
    started = started_of(folder.name)
    assert started is not None
    return Stored(folder, started, is_held(folder) or _may_go_on(folder / RUN), _size_bytes(folder))


def _size_bytes(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # a run that is going on replaces its files
            found = path.lstat()
            total += 0 if stat.S_ISDIR(found.st_mode) else found.st_size
    return total


def _may_go_on(record: Path) -> bool:
    """Return whether a run may not have ended: until then its record says that it was interrupted."""
    if time.time() - record.stat().st_mtime > STILL_RUNS_S:
        return False
    try:
        ended = msgspec.json.decode(record.read_bytes(), type=_Ended).ended
    except UNDECODABLE:
        return False
    return ended == "interrupted"


class _Ended(msgspec.Struct):
    ended: str = ""
