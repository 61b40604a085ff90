"""Calibration: base runs of a class of machines, kept, and how often comparisons drawn from them err."""

from __future__ import annotations

import hashlib
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from fedbench.errors import ConfigError, Problem
from harness.records.environment import machine_class
from harness.records.schema import Rates
from harness.records.store import write_atomically
from harness.regression.detectable import detectable_apart, detectable_side_by_side, enough_blocks
from harness.regression.margins import MARGINS
from harness.regression.matching import at_floor, compared, yardsticks
from harness.regression.resampling import Apart, SideBySide, agreement, detections, false_alarms
from harness.regression.stored import stored
from harness.regression.verdict import Detectable, Key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.regression.drawing import Pool
    from harness.regression.margins import Margin
    from harness.regression.resampling import Agreement, Procedure, Tally
    from harness.regression.runs import StoredRun

CALIBRATIONS = Path("results") / "calibrations"
VERSION = 5
STORED_BLOCKS = 16
"""Blocks of the stored runs that are drawn."""

AGREEMENT_SHARE = 3
"""For so many comparisons of each kind one pair of comparisons is drawn, to see whether they agree."""

_Samples = dict[str, dict[int, float]]


class _Drawn(NamedTuple):
    """What came of the comparisons of one procedure."""

    alarms: Tally
    found: Tally
    usual: Tally
    doubled: Tally
    agreement: Agreement


class BaseRuns(msgspec.Struct, frozen=True, kw_only=True):
    """Runs of one version on one class of machines.

    Attributes:
        machine: Class of the machine.
        suite: The suite that was run.
        commit: What was measured.
        measured_utc: When the first began.
        paired: Values as measured, by ``arm/workload/metric`` and block.
        floored: The same with times by the floor of their block, at its median.
    """

    machine: str
    suite: str
    commit: str
    measured_utc: str
    paired: _Samples
    floored: _Samples


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a class of machines.

    Attributes:
        base: The runs that comparisons are drawn from.
        blocks: Blocks of a batch that find what matters side by side.
        rates: Of both procedures.
        detectable: What can be detected, by procedure and ``arm/workload/metric``.
        alarming: What was confirmed although nothing had changed: how often, by procedure and metric.
    """

    version: int = VERSION
    base: BaseRuns
    blocks: int
    rates: list[Rates]
    detectable: dict[str, dict[str, Detectable]]
    alarming: dict[str, dict[str, int]]

    def __post_init__(self) -> None:
        """Check what was read.

        Raises:
            ValueError: A name is that of no gated metric of a cell, or there are no blocks.
        """
        for name in chain(self.base.paired, self.base.floored, *self.detectable.values()):
            if _key(name).metric not in MARGINS:
                raise ValueError(f"{name!r} names no metric that is compared")
        if self.blocks < 1:
            raise ValueError(f"blocks is {self.blocks}")

    def rates_of(self, procedure: str) -> Rates | None:
        """Return the rates of ``paired`` or ``stored``."""
        return next((rates for rates in self.rates if rates.procedure == procedure), None)

    def detectable_of(self, procedure: str) -> dict[Key, Detectable]:
        """Return what can be detected ``paired`` or ``stored``, by metric of a cell."""
        return {_key(name): value for name, value in self.detectable.get(procedure, {}).items()}


def base_runs(run: StoredRun) -> BaseRuns:
    """Return the blocks of one long run as base runs.

    Raises:
        ConfigError: It has no floor in every block.
    """
    made = stored(run.observations)
    sticks = yardsticks(made)
    if sticks is None:
        raise ConfigError(run.name, [Problem("", "has no floor in every block: it cannot be calibrated by")])
    return BaseRuns(
        machine=machine_class(run.record.environment),
        suite=run.record.suite,
        commit=str(run.record.environment.get("commit")),
        measured_utc=run.record.started_utc,
        paired=_named({key: made.values[key] for key in compared(made, made)}),
        floored=_named(at_floor(made, sticks)),
    )


def calibrate(base: BaseRuns, margins: Mapping[str, Margin], comparisons: int, seed: int) -> Calibration:
    """Draw comparisons from base runs, and tell how often they err.

    Args:
        base: The base runs.
        margins: What matters.
        comparisons: A/A comparisons, and as many with a slow-down, of each procedure.
        seed: Of the draws.

    Raises:
        ConfigError: They are too few.
    """
    raw, floored = pool_of(base.paired), pool_of(base.floored)
    try:
        blocks = enough_blocks(raw, margins)
        side_by_side = detectable_side_by_side(raw, margins, blocks)
        apart = detectable_apart(floored, margins, STORED_BLOCKS)
        procedures: dict[str, tuple[Pool, Procedure, int]] = {
            "paired": (raw, SideBySide(margins, blocks, side_by_side), blocks),
            "stored": (floored, Apart(margins, STORED_BLOCKS, apart), STORED_BLOCKS),
        }
        found = {
            name: _drawn(pool, margins, procedure, comparisons, seed)
            for name, (pool, procedure, _) in procedures.items()
        }
    except ValueError as error:
        where = f"base runs of {base.measured_utc}"
        raise ConfigError(where, [Problem("", f"{error}: collect more base runs")]) from error
    return Calibration(
        base=base,
        blocks=blocks,
        rates=[_rates(name, base, found[name], blocks=n) for name, (_, _, n) in procedures.items()],
        detectable={
            name: {"/".join(key): of for key, of in procedure.detectable.items()}
            for name, (_, procedure, _) in procedures.items()
        },
        alarming={
            name: {"/".join(key): count for key, count in sorted(drawn.alarms.others.items())}
            for name, drawn in found.items()
        },
    )


def keep(calibration: Calibration, root: Path = CALIBRATIONS) -> Path:
    """Write a calibration in the place of its class of machines; return the file."""
    root.mkdir(parents=True, exist_ok=True)
    path = _path(calibration.base.machine, root)
    write_atomically(path, msgspec.json.format(msgspec.json.encode(calibration), indent=1))
    return path


def known(machine: str, root: Path = CALIBRATIONS) -> Calibration | None:
    """Return the calibration of a class of machines, None if there is none.

    Raises:
        ConfigError: It is damaged, or of another version; the remedy is in the message.
    """
    path = _path(machine, root)
    try:
        data = msgspec.json.decode(path.read_bytes())
        if not isinstance(data, dict) or data.get("version") != VERSION:
            raise msgspec.ValidationError("it is of another version")
        found = msgspec.json.decode(path.read_bytes(), type=Calibration)
        if found.base.machine != machine:
            raise msgspec.ValidationError(f"it is of {found.base.machine}, not of {machine}")
        return found
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        problem = Problem("", f"cannot be used: {error}; remove it, or run `fedbench aa --fresh`")
        raise ConfigError(str(path), [problem]) from error


def _path(machine: str, root: Path) -> Path:
    return root / f"{hashlib.sha256(machine.encode()).hexdigest()[:16]}.json"


def _named(pool: Pool) -> _Samples:
    return {"/".join(key): dict(values) for key, values in pool.items()}


def pool_of(samples: _Samples) -> Pool:
    """Return samples by metric of a cell."""
    return {_key(name): values for name, values in samples.items()}


def _key(name: str) -> Key:
    parts = name.split("/")
    if len(parts) != len(Key._fields):
        raise ValueError(f"{name!r} names no metric of a cell")
    return Key(*parts)


def _drawn(
    pool: Pool, margins: Mapping[str, Margin], procedure: Procedure, comparisons: int, seed: int
) -> _Drawn:
    return _Drawn(
        false_alarms(pool, procedure, comparisons, seed + 1),
        detections(pool, margins, procedure, comparisons, seed + 2),
        detections(pool, margins, procedure, comparisons, seed + 3, size="margins"),
        detections(pool, margins, procedure, comparisons, seed + 4, size="doubled"),
        agreement(pool, margins, procedure, comparisons // AGREEMENT_SHARE, seed + 5),
    )


def _rates(procedure: str, base: BaseRuns, drawn: _Drawn, *, blocks: int) -> Rates:
    return Rates(
        procedure="paired" if procedure == "paired" else "stored",
        machine=base.machine,
        measured_utc=base.measured_utc,
        comparisons=drawn.alarms.comparisons,
        alarms=drawn.alarms.hits,
        alarms_upper=drawn.alarms.upper,
        injected=drawn.found.comparisons,
        detected=drawn.found.hits,
        detected_lower=drawn.found.lower,
        detected_usual=drawn.usual.hits,
        detected_doubled=drawn.doubled.hits,
        agreed=drawn.agreement.agreed,
        pairs=drawn.agreement.pairs,
        kappa=drawn.agreement.kappa,
        blocks=blocks,
    )
