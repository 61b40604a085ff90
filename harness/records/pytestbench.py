"""Results of pytest-benchmark as samples of the unpaired comparison.

The rounds of one process share its memory layout, its hashes and the state of the machine, so they are one
sample, their median. Several processes, with a JSON file each, make the samples.
"""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Any

import msgspec

from fedbench.errors import ConfigError, Problem
from harness.records.environment import machine_class

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

OLDEST, NEWEST = 4, 5
"""Major versions of pytest-benchmark whose JSON is read."""

_MAKE = "pytest tests/benchmarks --benchmark-enable --benchmark-json FILE"
_ROUNDING = 1e-9


class _Stats(msgspec.Struct, frozen=True):
    """Times in seconds; ``data`` is left out by ``--benchmark-save``."""

    min: float
    max: float
    median: float
    rounds: int
    data: list[float] | None = None


class _Benchmark(msgspec.Struct, frozen=True):
    fullname: str
    stats: _Stats


class _File(msgspec.Struct, frozen=True):
    """What of a file matters; ``datetime`` tells which run it is."""

    version: str
    datetime: str
    machine_info: dict[str, Any]
    commit_info: dict[str, Any]
    benchmarks: list[_Benchmark]


def load(paths: Sequence[Path]) -> dict[str, dict[int, float]]:
    """Return the medians of every benchmark in seconds, by full name and number of the file from 1.

    A benchmark that only some of the files hold has fewer samples.

    Args:
        paths: JSON files that pytest-benchmark wrote, one a run, all on one machine.

    Raises:
        ConfigError: There is no file, or one cannot be read, is truncated, no JSON of pytest-benchmark, of a
            version that is newer or older than those known, edited, empty, of another machine, or given
            twice; all that is wrong with the first such file is told.
    """
    if not paths:
        raise ConfigError("benchmarks", [Problem("", f"no files: make some with `{_MAKE}`, one a run")])
    samples: dict[str, dict[int, float]] = {}
    runs: dict[str, Path] = {}
    machine = ""
    for number, path in enumerate(paths, 1):
        file = _read(path)
        if file.datetime in runs:
            message = f"is the same run as {runs[file.datetime]}: a run counts once"
            raise ConfigError(str(path), [Problem("", message)])
        found = machine_class(_environment(file))
        if runs and found != machine:
            message = f"was made on {found}, {paths[0]} on {machine}: samples are of one machine"
            raise ConfigError(str(path), [Problem("", message)])
        machine = found
        runs[file.datetime] = path
        for benchmark in file.benchmarks:
            samples.setdefault(benchmark.fullname, {})[number] = benchmark.stats.median
    return samples


def environment(path: Path) -> dict[str, Any]:
    """Return what a file tells of its machine and commit, by the names of a run's environment.

    Raises:
        ConfigError: As for :func:`load`.
    """
    return _environment(_read(path))


def _read(path: Path) -> _File:
    try:
        data = msgspec.json.decode(path.read_bytes())
    except OSError as error:
        raise ConfigError(str(path), [Problem("", f"cannot be read: {error.strerror}")]) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        message = f"is no JSON, or truncated ({error}): make it again with `{_MAKE}`"
        raise ConfigError(str(path), [Problem("", message)]) from error
    _check_version(path, data)
    try:
        file = msgspec.convert(data, _File)
    except msgspec.ValidationError as error:
        message = f"is damaged or was edited: {error}"
        raise ConfigError(str(path), [Problem("", message)]) from error
    problems = list(_problems(file))
    if problems:
        raise ConfigError(str(path), problems)
    return file


def _check_version(path: Path, data: Any) -> None:
    version = data.get("version") if isinstance(data, dict) else None
    major = str(version).partition(".")[0]
    if not isinstance(data, dict) or "benchmarks" not in data or not major.isascii() or not major.isdigit():
        raise ConfigError(str(path), [Problem("", f"was not written by pytest-benchmark: use `{_MAKE}`")])
    if not OLDEST <= int(major) <= NEWEST:
        age = "newer" if int(major) > NEWEST else "older"
        message = (
            f"was written by pytest-benchmark {version}, which is {age} than what is known: use a version "
            f"from {OLDEST} to {NEWEST}"
        )
        raise ConfigError(str(path), [Problem("", message)])


def _problems(file: _File) -> Iterable[Problem]:
    if not file.benchmarks:
        yield Problem("", f"holds no benchmarks: were they enabled? Use `{_MAKE}`")
    names = [benchmark.fullname for benchmark in file.benchmarks]
    for index, benchmark in enumerate(file.benchmarks):
        wrong = _edited(benchmark.stats)
        if benchmark.fullname in names[:index]:
            wrong = "is there twice"
        if wrong:
            yield Problem(f"benchmarks[{index}] ({benchmark.fullname})", wrong)


def _edited(stats: _Stats) -> str:
    """Return how the numbers contradict each other, empty if they do not."""
    if not 0 < stats.min <= stats.median <= stats.max < math.inf:
        return (
            f"was edited: min {stats.min}, median {stats.median}, max {stats.max} are no times in that order"
        )
    if stats.rounds < 1 or (stats.data is not None and len(stats.data) != stats.rounds):
        rounds = "none" if stats.data is None else len(stats.data)
        return f"was edited: {stats.rounds} rounds are claimed, {rounds} are there"
    if stats.data is not None:
        median = statistics.median(stats.data)
        if not math.isclose(median, stats.median, rel_tol=_ROUNDING):
            return f"was edited: the median of its rounds is {median}, not {stats.median}"
    return ""


def _environment(file: _File) -> dict[str, Any]:
    known = file.machine_info
    cpu = known.get("cpu")
    cpu = cpu if isinstance(cpu, dict) else {}
    return {
        "cpu_model": cpu.get("brand_raw"),
        "cores_usable": cpu.get("count"),
        "architecture": known.get("machine"),
        "python": known.get("python_version"),
        "commit": file.commit_info.get("id"),
        "dirty": file.commit_info.get("dirty"),
    }
