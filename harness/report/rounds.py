"""What a round's time was spent on. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from harness.records.format import quantity
from harness.report.arms import by_arm
from harness.report.document import Paragraph, Part, Role, Section, Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.records.schema import CellRecord, RunRecord

PHASES = {
    "round_ask_s": "ask",
    "round_collect_s": "collect",
    "round_reduce_s": "reduce",
    "round_publish_s": "publish",
}
"""The metrics, in the order in which the phases follow each other, and their names."""

ROUNDS = ("fedavg_round", "digits_training")
"""Kinds of workloads that train whole rounds, nothing else between them."""

_COLUMNS: tuple[tuple[str, Role], ...] = (
    ("Workload", "code"),
    ("Arm", "code"),
    *((name.capitalize(), "number") for name in PHASES.values()),
    ("Round", "number"),
)
_WHAT = (
    "Mean time of a round by phase, each with its share of the round. Ask: until every client was handed "
    "its question. Collect: from there until every update had come and was added to the mean, so it holds "
    "the way there, the clients' training and the way back. Reduce: finishing the mean. Publish: handing out "
    "the new model, where the next round's questions do not."
)
_INSIDE = (
    "Not recorded: what of collecting is transport and what is the clients' work. The clients of "
    "fedavg_round train next to nothing."
)


class RoundCell(NamedTuple):
    """The phases of one cell's mean round in s, in order."""

    workload: str
    arm: str
    phases_s: tuple[float, ...]

    @property
    def round_s(self) -> float:
        """Their sum."""
        return sum(self.phases_s)


def round_cells(run: RunRecord) -> list[RoundCell]:
    """Return the cells whose rounds were recorded by phase, by workload."""
    found = []
    for cell in sorted(by_arm(run.cells), key=lambda cell: cell.workload):
        phases = _phases(cell)
        if phases is not None and sum(phases) > 0:
            found.append(RoundCell(cell.workload, cell.arm, phases))
    return found


def phases_of_rounds(run: RunRecord, kinds: Mapping[str, str], figures: Sequence[Part]) -> list[Section]:
    """Return one section about the rounds of a run; none where it had no rounds.

    Args:
        run: What was recorded.
        kinds: Kind of each workload.
        figures: What stands above the table.
    """
    cells = round_cells(run)
    trained = [c for c in run.cells if kinds.get(c.workload) in ROUNDS and c.status == "ok"]
    if not cells and not trained:
        return []
    if not cells:
        parts: list[Part] = [Paragraph("The rounds of this run were not recorded by phase.")]
    else:
        rows = [_row(cell) for cell in cells]
        parts = [Paragraph(_WHAT), Paragraph(_INSIDE), *figures, Table(_COLUMNS, rows)]
    return [Section("Phases of a round", parts)]


def _phases(cell: CellRecord) -> tuple[float, ...] | None:
    values = [cell.metrics[name].value for name in PHASES if name in cell.metrics]
    known = [value for value in values if value is not None]
    return tuple(known) if len(known) == len(PHASES) else None


def _row(cell: RoundCell) -> tuple[str, ...]:
    shares = (f"{quantity(s, 's')}\n{s / cell.round_s:.0%}".replace("%", " %") for s in cell.phases_s)
    return (cell.workload, cell.arm, *shares, quantity(cell.round_s, "s"))
