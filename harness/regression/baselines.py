"""Baselines: runs under a name, committed with the code, that later runs are checked against."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from fedbench.errors import ConfigError, Problem
from harness.records.environment import machine_class
from harness.records.naming import wrong_name
from harness.records.store import OBSERVATIONS, RUN
from harness.regression.runs import StoredRun, read_run

if TYPE_CHECKING:
    from collections.abc import Sequence

BASELINES = Path("results") / "baselines"


class NoBaseline(ConfigError):
    """There is no baseline that a run can be checked against."""


def set_baseline(name: str, run: StoredRun, *, replace_old: bool = False, root: Path = BASELINES) -> Path:
    """Keep a run as a baseline; of its observations, what comparisons need.

    Args:
        name: Name of the baseline.
        run: The run.
        replace_old: Whether a baseline of that name is replaced; it is kept until the new one is complete.
        root: Where baselines lie.

    Returns:
        The baseline's folder.

    Raises:
        ConfigError: The name or the run will not do, or there is such a baseline already.
        OSError: It cannot be written; an old one is as it was.
    """
    target = _folder(name, root)
    problems = _unfit(run)
    if target.exists() and not replace_old:
        problems.append(Problem("", f"there is a baseline {name!r} already: give --replace to replace it"))
    if problems:
        raise ConfigError(run.name, problems)
    root.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=root))
    try:
        (fresh / RUN).write_bytes(msgspec.json.format(msgspec.json.encode(run.record), indent=1))
        slim = (replace(o, histograms={}, texts={}) for o in run.observations)
        (fresh / OBSERVATIONS).write_bytes(b"".join(msgspec.json.encode(o) + b"\n" for o in slim))
        fresh.chmod(0o755)
        if target.exists():
            old = fresh.with_name(f"{fresh.name}.old")
            os.rename(target, old)
            try:
                os.rename(fresh, target)
            except OSError:
                os.rename(old, target)
                raise
            shutil.rmtree(old)
        else:
            os.rename(fresh, target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return target


def baseline(name: str, *, root: Path = BASELINES) -> StoredRun:
    """Return the baseline of that name.

    Raises:
        NoBaseline: There is none; the message lists those there are.
        ConfigError: It is damaged.
    """
    folder = _folder(name, root)
    if not folder.is_dir():
        known = ", ".join(names(root=root)) or "there are none: make one by `fedbench baseline set NAME RUN`"
        raise NoBaseline(f"baseline {name!r}", [Problem("", f"is not in {root.resolve()}; known: {known}")])
    return read_run(folder, f"baseline {name}")


def names(*, root: Path = BASELINES) -> Sequence[str]:
    """Return the names of all baselines."""
    if not root.is_dir():
        return []
    return sorted(p.name for p in root.iterdir() if (p / RUN).is_file() and not p.name.startswith("."))


def remove_baseline(name: str, *, root: Path = BASELINES) -> None:
    """Remove a baseline.

    Raises:
        NoBaseline: There is none of that name.
    """
    folder = _folder(name, root)
    if name not in names(root=root):
        raise NoBaseline(
            f"baseline {name!r}", [Problem("", f"is not in {root.resolve()}: nothing was removed")]
        )
    shutil.rmtree(folder)


def check_machine(base: StoredRun, candidate: StoredRun) -> None:
    """Check that two runs were made on machines of the same class.

    Raises:
        NoBaseline: They were not; both classes are named.
    """
    here, there = (machine_class(run.record.environment) for run in (candidate, base))
    if here != there:
        raise NoBaseline(
            base.name,
            [
                Problem(
                    "",
                    f"was measured on {there}, and {candidate.name} on {here}: numbers of different machines "
                    "are not compared; measure both versions on one by `fedbench ab REF_A REF_B`",
                )
            ],
        )


def _folder(name: str, root: Path) -> Path:
    wrong = wrong_name(name)
    if wrong:
        raise ConfigError("baseline", [Problem("", wrong)])
    return root / name


def _unfit(run: StoredRun) -> list[Problem]:
    return [
        Problem("", f"{cell.arm} {cell.workload} ended as {cell.status}: a baseline must have measured all")
        for cell in run.record.cells
        if cell.status in ("failed", "timeout")
    ]
