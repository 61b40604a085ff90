"""What a report says, in order, whatever its format. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from harness.records.format import clean, counted, quantity
from harness.report.circumstances import environment, validity
from harness.report.criteria import criteria_parts, ordered
from harness.report.document import Bullets, Figure, Links, Paragraph, Part, Role, Section, Table
from harness.report.flames import flame_graphs
from harness.report.floors import against_floors
from harness.report.frontier import polling_frontier
from harness.report.losses import compared, failures, losses
from harness.report.material import NOTHING_BESIDE, Material
from harness.report.missing import not_measured
from harness.report.percentiles import figure_names, percentiles
from harness.report.promises import promise_table, sentence
from harness.report.rounds import phases_of_rounds
from harness.report.scaling import scaling
from harness.report.tables import workloads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.records.schema import RunRecord

CAPTIONS = {
    "promises": "How many times less push needs than polling. The thick mark is the target: a promise is "
    "kept where the whole interval lies right of it. ✓ pass, ✗ fail, ? inconclusive, ~ contaminated.",
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

_LOSS_COLUMNS: tuple[tuple[str, Role], ...] = (
    ("Workload", "code"),
    ("Metric", "code"),
    ("Push", "text"),
    ("Polling", "text"),
    ("Times worse", "number"),
    ("Intervals apart", "text"),
)

_LISTED = 12
"""Lines about what was not measured that a page shows without being asked."""

_APART = {True: "yes", False: "no", None: "unknown: fewer than 5 blocks"}


def headline(run: RunRecord) -> str:
    """Return the title of a report."""
    return f"{clean(run.title)}: {run.verdict.upper()}"


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
    missing = not_measured(run)
    return [
        Section("Verdict", _verdict(run, figures)),
        Section("Criteria", criteria_parts(run)),
        *_plotted("Criteria in a plot", figures, "criteria"),
        Section(
            "Not measured",
            [_listed(missing, "Everything that was planned was measured.")],
            folded=len(missing) > _LISTED,
            hint=counted(len(missing), "line"),
        ),
        environment(run),
        validity(run, material),
        *workloads(run, _latencies(run, figures, material)),
        *_plotted("Push against polling", figures, "comparison", "ratios"),
        *_folded(against_floors(run)),
        *_folded(polling_frontier(run, kinds, _figures(figures, "frontier"))),
        *_folded(scaling(run, kinds, _figures(figures, "growth"))),
        *_folded(phases_of_rounds(run, kinds, _figures(figures, "phases"))),
        _losses(run),
        *_folded(flame_graphs(material)),
        Section("Order of the runs", _order(run), folded=True, hint=counted(len(run.order), "block")),
        Section("Files", [Links(material.files)]),
    ]


def _verdict(run: RunRecord, figures: Sequence[str]) -> list[Part]:
    promises = promise_table(run)
    if promises is None:
        parts: list[Part] = [Paragraph(clean(run.reason) + "."), Paragraph(summary(run)), *_missed(run)]
    else:
        opening: list[Part] = [Paragraph(sentence(run)), promises, *_figures(figures, "promises")]
        parts = [*opening, Paragraph(clean(run.reason) + "."), Paragraph(summary(run))]
    if run.warnings:
        are = "is" if len(run.warnings) == 1 else "are"
        parts.append(
            Paragraph(f"There {are} {counted(len(run.warnings), 'warning')} about this run: see Validity.")
        )
    return parts


def _missed(run: RunRecord) -> list[Part]:
    missed = [
        f"{c.id}: {c.verdict}" + f": {c.reason}" * bool(c.reason)
        for c in ordered(run.criteria)
        if c.verdict != "pass"
    ]
    return [Bullets(missed)] if missed else []


def summary(run: RunRecord) -> str:
    """Return what was run, when and for how long, in one sentence."""
    blocks = f"{run.blocks_done} of {run.blocks_planned} blocks"
    return (
        f"Suite {run.suite}, run {run.run_id}: {blocks}, started {run.started_utc}, "
        f"took {quantity(run.duration_s, 's')}."
    )


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


def _plotted(title: str, figures: Sequence[str], *names: str) -> list[Section]:
    found = _figures(figures, *names)
    return [Section(title, found, folded=True)] if found else []


def _folded(found: Sequence[Section]) -> list[Section]:
    return [replace(section, folded=section.level == 2) for section in found]


def _losses(run: RunRecord) -> Section:
    cells = [cell for cell in run.cells if cell.arm not in run.control_arms]
    total, found = compared(cells), losses(cells)
    title = "Where push loses"
    if not total:
        return Section(title, [Paragraph("No workload was run by both push and polling.")])
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
    hint = f"{len(found)} of {total} values, {clear} by more than their intervals"
    return Section(title, parts, folded=True, hint=hint)


def _order(run: RunRecord) -> list[Part]:
    rows = [(str(block), ", ".join(arms)) for block, arms in enumerate(run.order, start=1)]
    table = Table((("Block", "number"), ("In the order they ran", "text")), rows)
    return [Paragraph(f"Drawn anew for each block from seed {run.seed}."), table]
