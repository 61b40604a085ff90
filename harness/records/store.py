"""The folder of one run: observations appended as they come, everything else written atomically."""

from __future__ import annotations

import contextlib
import gzip
import os
import secrets
import stat
from pathlib import Path
from typing import IO, TYPE_CHECKING

import msgspec
import pandas as pd

from fedbench.errors import ConfigError, Problem
from harness.records.metrics import METRICS
from harness.records.schema import SCHEMA_VERSION, Observation, RunRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

OBSERVATIONS = "observations.jsonl"
RUN = "run.json"
SAMPLES = "samples.csv.gz"
UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding JSON raises: of what is no JSON, of another shape, or nested without end."""

_LARGEST = 1e30
"""Nothing that is measured here is larger: figures cannot be drawn of numbers near the end of floats."""


class Store:
    """A run's folder.

    Args:
        folder: Where it lies; made if need be.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def append(self, observation: Observation) -> None:
        """Keep one observation; it survives whatever happens to this process afterwards.

        A torn last line, left by a process that was killed, is cut off first.
        """
        line = msgspec.json.encode(observation) + b"\n"
        path = self.folder / OBSERVATIONS
        try:
            with path.open("a+b", buffering=0) as file:
                _cut_torn_line(file)
                while line:
                    line = line[file.write(line) :]
                os.fsync(file.fileno())
        except OSError as error:
            error.filename = error.filename or str(path)  # a failed write does not say where
            raise

    def observations(self) -> list[Observation]:
        """Return every observation in the order measured. A torn last line is left out.

        Raises:
            ConfigError: They cannot be read, or a line is not an observation.
        """
        path = self.folder / OBSERVATIONS
        if not path.exists():
            return []
        try:
            lines = path.read_bytes().split(b"\n")
        except OSError as error:
            raise ConfigError(str(path), [Problem("", f"cannot be read: {error.strerror}")]) from error
        try:
            found = [msgspec.json.decode(line, type=Observation) for line in lines[:-1]]
        except UNDECODABLE as error:
            raise ConfigError(str(path), [Problem("", f"holds something else: {error}")]) from error
        _refuse_edited(
            path,
            (
                (f"line {number}: {name}", value)
                for number, o in enumerate(found, start=1)
                for name, value in o.metrics.items()
            ),
        )
        return found

    def replace(self, observations: Iterable[Observation]) -> None:
        """Have these observations in place of all that were kept, at once or not at all."""
        lines = [msgspec.json.encode(observation) + b"\n" for observation in observations]
        write_atomically(self.folder / OBSERVATIONS, b"".join(lines))

    def write_run(self, run: RunRecord) -> None:
        """Write ``run.json`` and ``samples.csv.gz``."""
        self.write_record(run)
        self._write_samples(self.observations())

    def write_record(self, run: RunRecord) -> None:
        """Write ``run.json``."""
        write_atomically(self.folder / RUN, msgspec.json.format(msgspec.json.encode(run), indent=1))

    def read_run(self) -> RunRecord:
        """Return what ``run.json`` holds.

        Raises:
            ConfigError: There is none, it is of another version, or it is damaged.
        """
        path = self.folder / RUN
        try:
            data = msgspec.json.decode(path.read_bytes())
            version = data.get("schema_version") if isinstance(data, dict) else None
            if version != SCHEMA_VERSION:
                message = f"has schema version {version}: this program reads version {SCHEMA_VERSION}"
                newer = isinstance(version, int) and version > SCHEMA_VERSION
                remedy = "; update fedbench to read it" if newer else ""
                raise ConfigError(str(path), [Problem("", message + remedy)])
            record = msgspec.convert(data, RunRecord)
        except OSError as error:
            message = f"cannot be read: {error.strerror}; name the folder of a run"
            raise ConfigError(str(path), [Problem("", message)]) from error
        except UNDECODABLE as error:
            raise ConfigError(str(path), [Problem("", f"is damaged: {error}")]) from error
        _refuse_edited(path, _numbers(record))
        return record

    def _write_samples(self, observations: Iterable[Observation]) -> None:
        rows = [
            (o.block, o.order, o.arm, o.stack, o.loop, o.mode, o.workload, name, METRICS[name].unit, value)
            for o in observations
            for name, value in o.metrics.items()
        ]
        columns = ["block", "order", "arm", "stack", "loop", "mode", "workload", "metric", "unit", "value"]
        text = pd.DataFrame(rows, columns=columns).to_csv(index=False)
        write_atomically(self.folder / SAMPLES, gzip.compress(text.encode(), mtime=0))


_UNFINISHED = ".fedbench-"
_OPEN = ("/dev/std", "/dev/fd/", "/proc/self/fd/")
"""Paths of what this process has open: a file there belongs to whoever opened it."""


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file that is either the old or the new one, whatever happens.

    A link stays, and its target is written. Pipes and devices, such as ``/dev/stdout``, are written to.
    """
    try:
        found = path.stat() if path.exists() else None
        if _is_stream(path, found):
            with path.open("ab") as stream:  # standard output may be a file that others write to as well
                stream.write(data)
        else:
            _replace(
                Path(os.path.realpath(path)), data, None if found is None else stat.S_IMODE(found.st_mode)
            )
    except OSError as error:
        error.filename, error.filename2 = str(path), None  # a failed write does not say where
        raise


def remove_unfinished(folder: Path) -> None:
    """Remove what a process that was killed while it wrote into a folder left there; it must be held."""
    for path in folder.glob(f"{_UNFINISHED}*"):
        path.unlink()


def _is_stream(path: Path, found: os.stat_result | None) -> bool:
    return found is not None and (not stat.S_ISREG(found.st_mode) or str(path).startswith(_OPEN))


def _replace(path: Path, data: bytes, mode: int | None) -> None:
    temporary = path.with_name(f"{_UNFINISHED}{secrets.token_hex(8)}")  # nobody else's, whatever lies there
    try:
        with temporary.open("xb") as file:
            if mode is not None:
                with contextlib.suppress(OSError):  # some file systems know no modes
                    os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _numbers(record: RunRecord) -> Iterator[tuple[str, float | None]]:
    for cell in record.cells:
        for metric, summary in cell.metrics.items():
            for name in ("value", "ci_low", "ci_high"):
                yield f"cell {cell.arm} {cell.workload}: {metric}.{name}", getattr(summary, name)
    for criterion in record.criteria:
        for name in ("value", "ci_low", "ci_high"):
            yield f"criterion {criterion.id}: {name}", getattr(criterion, name)


def _refuse_edited(path: Path, numbers: Iterable[tuple[str, float | None]]) -> None:
    """Raise a ConfigError that names the numbers that nothing can have measured."""
    problems = [
        Problem("", f"{where} is {value:g}, which nothing measures: it was edited, bring it back")
        for where, value in numbers
        if value is not None and abs(value) > _LARGEST
    ]
    if problems:
        raise ConfigError(str(path), problems)


def _cut_torn_line(file: IO[bytes]) -> None:
    if file.seek(0, os.SEEK_END) == 0:
        return
    file.seek(-1, os.SEEK_END)
    if file.read() != b"\n":
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
