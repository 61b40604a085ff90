"""What a report says, in order, whatever its format. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.report.circumstances import environment, validity
from harness.report.document import Bullets, Figure, Links, Paragraph, Part, Role, Section, Table
from harness.report.flames import flame_graphs
from harness.report.floors import against_floors
from harness.report.format import clean, compact, interval, quantity
from harness.report.frontier import polling_frontier
from harness.report.losses import compared, failures, losses
from harness.report.material import NOTHING_BESIDE, Material
from harness.report.missing import not_measured
from harness.report.percentiles import figure_names, percentiles
from harness.report.rounds import phases_of_rounds
from harness.report.scaling import scaling
from harness.report.tables import workloads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.records.schema import CriterionRecord, RunRecord

CAPTIONS = {
    "criteria": "Each criterion as what was measured over what it allows; left of the line meets it. "
    "The bar is the interval that decides; a hollow mark has none, or one bound only.",
    "comparison": "Push against polling, each quantity as a share of the larger of the two.",
    "ratios": "Each dot is one block; the diamond is the estimate, its bar the interval. "
    "Left of the thick mark meets the criterion.",
    "frontier": "What an interval of polling costs at rest and how late it delivers, and push beside it.",
    "growth": "Median time of the same work over its size.",
    "phases": "The mean round of each cell, as shares of its phases.",
}
"""Every figure that is not one workload's, and what it shows."""

LATENCY_CAPTION = "Share of operations that took no longer, all blocks together."

CRITERIA_LEGEND = (
    "n counts blocks. Where two arms are compared, the value is an estimate over the blocks and the interval "
    "its one-sided 95 % bounds; where one arm is held to a limit, the value is the median block and the "
    "interval the smallest and the largest; where answers have to be equal, the value is how many different "
    "ones there were."
)

_CRITERIA_COLUMNS: tuple[tuple[str, Role], ...] = (
    ("Id", "code"),
    ("Verdict", "verdict"),
    ("Target", "number"),
    ("Value", "number"),
    ("Interval", "number"),
    ("n", "number"),
    ("Criterion", "text"),
    ("Reason", "text"),
)

_LOSS_COLUMNS: tuple[tuple[str, Role], ...] = (
    ("Workload", "code"),
    ("Metric", "code"),
    ("Push", "text"),
    ("Polling", "text"),
    ("Times worse", "number"),
    ("Intervals apart", "text"),
)

_APART = {True: "yes", False: "no", None: "unknown: fewer than 5 blocks"}

_COMPARISONS = {
    "reduction": "≥",
    "at_least": "≥",
    "frontier": ">",
    "limit": "≤",
    "at_most": "≤",
    "ratio": "≤",
    "equal": "=",
}


def headline(run: RunRecord) -> str:
    """Return the title of a report."""
    return f"{clean(run.title)}: {run.verdict.upper()}"


def target(criterion: CriterionRecord) -> str:
    """Return what a criterion asks for, such as ``≥ 80 %``."""
    return f"{_COMPARISONS.get(criterion.kind, '')} {compact(criterion.target, criterion.unit)}".strip()


def sections(run: RunRecord, figures: Sequence[str], material: Material = NOTHING_BESIDE) -> list[Section]:
    """Return the whole report.

    Args:
        run: What was recorded.
        figures: Names of the plots there are.
        material: What lies beside the record.

    Raises:
        ValueError: A histogram is damaged.
    """
    kinds = material.kinds
    return [
        Section("Verdict", _verdict(run)),
        Section("Criteria", [*_criteria(run), *_figures(figures, "criteria")]),
        Section("Not measured", [_listed(not_measured(run), "Everything that was planned was measured.")]),
        environment(run),
        validity(run, material),
        *workloads(run, _latencies(run, figures, material)),
        *_comparisons(figures),
        *against_floors(run),
        *polling_frontier(run, kinds, _figures(figures, "frontier")),
        *scaling(run, kinds, _figures(figures, "growth")),
        *phases_of_rounds(run, kinds, _figures(figures, "phases")),
        Section("Where push loses", _losses(run)),
        *flame_graphs(material),
        Section("Order of the runs", _order(run)),
        Section("Files", [Links(material.files)]),
    ]


def _verdict(run: RunRecord) -> list[Part]:
    parts: list[Part] = [Paragraph(clean(run.reason) + "."), Paragraph(summary(run))]
    missed = [
        f"{c.id}: {c.verdict}" + f": {c.reason}" * bool(c.reason) for c in run.criteria if c.verdict != "pass"
    ]
    if missed:
        parts.append(Bullets(missed))
    if run.warnings:
        are = "is 1 warning" if len(run.warnings) == 1 else f"are {len(run.warnings)} warnings"
        parts.append(Paragraph(f"There {are} about this run: see Validity."))
    return parts


def summary(run: RunRecord) -> str:
    """Return what was run, when and for how long, in one sentence."""
    blocks = f"{run.blocks_done} of {run.blocks_planned} blocks"
    return (
        f"Suite {run.suite}, run {run.run_id}: {blocks}, started {run.started_utc}, "
        f"took {quantity(run.duration_s, 's')}."
    )


def _criteria(run: RunRecord) -> list[Part]:
    if not run.criteria:
        text = "The suite has no criteria, or none of them could be decided with the cells chosen."
        return [Paragraph(text)]
    rows = [
        (
            c.id,
            c.verdict,
            target(c),
            quantity(c.value, c.unit),
            interval(c.ci_low, c.ci_high, c.unit),
            str(c.n),
            c.title,
            c.reason,
        )
        for c in run.criteria
    ]
    return [Table(_CRITERIA_COLUMNS, rows), Paragraph(CRITERIA_LEGEND)]


def _listed(items: list[str], nothing: str) -> Part:
    return Bullets(items) if items else Paragraph(nothing)


def _figures(figures: Sequence[str], *names: str) -> list[Part]:
    return [Figure(name, CAPTIONS[name]) for name in names if name in figures]


def _latencies(run: RunRecord, figures: Sequence[str], material: Material) -> dict[str, list[Part]]:
    """Return for each workload its distributions: the figure, and the percentiles."""
    names = figure_names(material.distributions)
    return {
        workload: [
            *(Figure(names[workload], LATENCY_CAPTION) for _ in range(names.get(workload) in figures)),
            *percentiles(workload, material),
        ]
        for workload in {cell.workload for cell in run.cells}
    }


def _comparisons(figures: Sequence[str]) -> list[Section]:
    found = _figures(figures, "comparison", "ratios")
    return [Section("Push against polling", found)] if found else []


def _losses(run: RunRecord) -> list[Part]:
    cells = [cell for cell in run.cells if cell.arm not in run.control_arms]
    total, found = compared(cells), losses(cells)
    if not total:
        return [Paragraph("No workload was run by both push and polling.")]
    clear = sum(loss.apart is True for loss in found)
    parts: list[Part] = [
        Paragraph(
            f"Of {total} values of push arms compared with polling arms under the same workload, "
            f"{len(found)} are worse, {clear} of them by more than their intervals."
        )
    ]
    failed = failures(cells)
    if failed:
        parts.append(Bullets(failed))
    if found:
        rows = [
            (
                loss.workload,
                loss.metric,
                f"{loss.push_arm}: {quantity(loss.push.value, loss.push.unit)}",
                f"{loss.polling_arm}: {quantity(loss.polling.value, loss.polling.unit)}",
                quantity(loss.factor, "times"),
                _APART[loss.apart],
            )
            for loss in found
        ]
        parts.append(Table(_LOSS_COLUMNS, rows))
    return parts


def _order(run: RunRecord) -> list[Part]:
    rows = [(str(block), ", ".join(arms)) for block, arms in enumerate(run.order, start=1)]
    table = Table((("Block", "number"), ("In the order they ran", "text")), rows)
    return [Paragraph(f"Drawn anew for each block from seed {run.seed}."), table]
