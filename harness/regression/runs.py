"""Runs that were stored: read, named, and fit to be compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from fedbench.errors import ConfigError, Problem
from harness.records.agreement import contradictions
from harness.records.metrics import METRICS
from harness.records.store import OBSERVATIONS, Store

if TYPE_CHECKING:
    from pathlib import Path

    from harness.records.schema import Observation, RunRecord


_NEVER_NEGATIVE = ("s", "s/op", "cores", "1/op")


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
        ConfigError: There is none, it is damaged, of another schema, was broken off or profiled, contradicts
            itself, holds nothing, or what nobody can have measured.
    """
    if not folder.is_dir():
        raise ConfigError(str(folder), [Problem("", "is no folder: name the folder of a run")])
    store = Store(folder)
    record = store.read_run()
    observations = store.observations()
    if whole and record.ended != "complete":
        problem = Problem("", f"was not completed ({record.ended}): compare complete runs only")
        raise ConfigError(str(folder), [problem])
    if record.profiled:
        raise ConfigError(str(folder), [Problem("", "was profiled: measure without --profile")])
    if problems := contradictions(record, observations):
        raise ConfigError(str(folder / OBSERVATIONS), [Problem("", line) for line in problems])
    for observation in observations:
        wrong = _wrong(observation)
        if wrong:
            where = f"block {observation.block} of {observation.arm} {observation.workload}"
            raise ConfigError(str(folder), [Problem(where, f"{wrong}: that was not measured")])
    if not any(observation.status == "ok" for observation in observations):
        raise ConfigError(str(folder), [Problem("", "holds no cell that was measured: nothing to compare")])
    return StoredRun(name or record.run_id, record, observations)


def _wrong(observation: Observation) -> str:
    """Return what of an observation is negative and cannot be, empty if nothing is."""
    for name, value in observation.metrics.items():
        if value is not None and value < 0 and METRICS[name].unit in _NEVER_NEGATIVE:
            return f"{name} is {value:g}"
    return ""
