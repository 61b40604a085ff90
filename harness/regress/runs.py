"""Runs that were stored: read, named, and fit to be compared."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from fedbench.errors import ConfigError, Problem
from harness.records.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from harness.records.schema import Observation, RunRecord

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class StoredRun(NamedTuple):
    """A run and all that it measured.

    Attributes:
        name: What it is called where it is compared.
        record: The run.
        observations: Everything that it measured.
    """

    name: str
    record: RunRecord
    observations: list[Observation]


def read_run(folder: Path, name: str = "", *, whole: bool = True) -> StoredRun:
    """Read the run in a folder.

    Args:
        folder: The run's folder.
        name: What to call it, by default its id.
        whole: Whether it must not have been broken off, by its budget or a person.

    Raises:
        ConfigError: There is none, it is damaged, of another schema, was broken off, or holds nothing.
    """
    if not folder.is_dir():
        raise ConfigError(str(folder), [Problem("", "is no folder: name the folder of a run")])
    store = Store(folder)
    record = store.read_run()
    observations = store.observations()
    if whole and record.ended != "complete":
        problem = Problem("", f"was not completed ({record.ended}): compare complete runs only")
        raise ConfigError(str(folder), [problem])
    if not any(observation.status == "ok" for observation in observations):
        raise ConfigError(str(folder), [Problem("", "holds no cell that was measured: nothing to compare")])
    return StoredRun(name or record.run_id, record, observations)


def check_name(name: str, what: str) -> str:
    """Return a name that can be that of a folder.

    Args:
        name: The name.
        what: What it names, for the error.

    Raises:
        ConfigError: It cannot: it is empty, too long, or holds something else than letters, digits, ``._-``.
    """
    if not NAME.fullmatch(name):
        raise ConfigError(
            f"{what} {name!r}",
            [Problem("", "use 1 to 64 letters, digits, '.', '_' and '-', beginning with a letter or digit")],
        )
    return name
