"""What a report says, in order, whatever its format. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.report.circumstances import environment, validity
from harness.report.document import Bullets, Figure, Links, Paragraph, Part, Role, Section, Table
from harness.report.floors import against_floors
from harness.report.format import clean, compact, interval, quantity
from harness.report.losses import compared, failures, losses
from harness.report.missing import not_measured
from harness.report.tables import workloads

if TYPE_CHECKING:
    from harness.records.schema import CriterionRecord, RunRecord

CAPTIONS = {
    "criteria": "Each criterion as what was measured over what it allows; left of the line meets it. "
    "The bar is the interval that decides; a hollow mark has none, or one bound only.",
    "comparison": "Push against polling, each quantity as a share of the larger of the two.",
    "latency": "Share of operations that took no longer, all blocks together.",
    "ratios": "Push over polling in each block; left of the mark meets the criterion.",
    "frontier": "What an interval of polling costs at rest and how late it delivers, and push beside it.",
}
"""Every figure in order, and what it shows."""

FILES = (
    ("run.json", "environment, order, cells, criteria and verdict, under a versioned schema"),
    ("observations.jsonl", "every observation with its latency histograms, in the order measured"),
    ("samples.csv.gz", "one row for each block, arm, workload and metric"),
    ("junit.xml", "the criteria as test cases, for continuous integration"),
)

_CRITERIA_COLUMNS: tuple[tuple[str, Role], ...] = (
    ("Id", "code"),
    ("Criterion", "text"),
    ("Target", "number"),
    ("Value", "number"),
    ("Interval", "number"),
    ("n", "number"),
    ("Verdict", "verdict"),
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

_COMPARISONS = {"reduction": "≥", "at_least": "≥", "frontier": ">", "limit": "≤", "ratio": "≤", "equal": "="}


def headline(run: RunRecord) -> str:
    """Return the title of a report."""
    return f"{clean(run.title)}: {run.verdict.upper()}"


def target(criterion: CriterionRecord) -> str:
    """Return what a criterion asks for, such as ``≥ 80 %``."""
    return f"{_COMPARISONS.get(criterion.kind, '')} {compact(criterion.target, criterion.unit)}".strip()


def sections(run: RunRecord, figures: tuple[str, ...]) -> list[Section]:
    """Return the report.

    Args:
        run: What was recorded.
        figures: Names of the plots there are.
    """
    return [
        Section("Verdict", [Paragraph(clean(run.reason) + "."), Paragraph(summary(run))]),
        Section("Criteria", [_criteria(run), *_figures(figures, ("criteria",))]),
        *against_floors(run),
        Section("Not measured", [_listed(not_measured(run), "Everything that was planned was measured.")]),
        Section("Warnings", [_listed(run.warnings, "None.")]),
        environment(run),
        validity(run),
        *workloads(run),
        *_plots(figures),
        Section("Where push loses", _losses(run)),
        Section("Order of the runs", _order(run)),
        Section("Samples", [Links(FILES)]),
    ]


def summary(run: RunRecord) -> str:
    """Return what was run, when and for how long, in one sentence."""
    blocks = f"{run.blocks_done} of {run.blocks_planned} blocks"
    return (
        f"Suite {run.suite}, run {run.run_id}: {blocks}, started {run.started_utc}, "
        f"took {quantity(run.duration_s, 's')}."
    )


def _criteria(run: RunRecord) -> Part:
    if not run.criteria:
        return Paragraph("The suite has no criteria, or none of them could be decided with the cells chosen.")
    rows = [
        (
            c.id,
            c.title,
            target(c),
            quantity(c.value, c.unit),
            interval(c.ci_low, c.ci_high, c.unit),
            str(c.n),
            c.verdict,
            c.reason,
        )
        for c in run.criteria
    ]
    return Table(_CRITERIA_COLUMNS, rows)


def _listed(items: list[str], nothing: str) -> Part:
    return Bullets(items) if items else Paragraph(nothing)


def _figures(figures: tuple[str, ...], names: tuple[str, ...]) -> list[Part]:
    return [Figure(name, CAPTIONS[name]) for name in names if name in figures]


def _plots(figures: tuple[str, ...]) -> list[Section]:
    found = _figures(figures, tuple(name for name in CAPTIONS if name != "criteria"))
    return [Section("Plots", found)] if found else []


def _losses(run: RunRecord) -> list[Part]:
    total, found = compared(run.cells), losses(run.cells)
    if not total:
        return [Paragraph("No workload was run by both push and polling.")]
    clear = sum(loss.apart is True for loss in found)
    parts: list[Part] = [
        Paragraph(
            f"Of {total} values of push arms compared with polling arms under the same workload, "
            f"{len(found)} are worse, {clear} of them by more than their intervals."
        )
    ]
    failed = failures(run.cells)
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
