"""What was planned and is not there, and why. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from harness.report.arms import by_arm

if TYPE_CHECKING:
    from harness.records.schema import RunRecord

NAMED = 6
"""Up to so many metrics that are missing for one reason are named, more are counted."""

_IN_BLOCKS = re.compile(r"(.+) in (\d+ of \d+) blocks", re.DOTALL)


def not_run(run: RunRecord) -> list[str]:
    """Return a sentence for each criterion, cell or block that was planned and not had, with the reason."""
    lines = list(run.not_measured)
    for cell in run.cells:
        name = f"{cell.arm} {cell.workload}: {cell.status}"
        if cell.status != "ok" and not any(line.startswith(name) for line in lines):
            lines.append(f"{name}: {'; '.join(cell.reasons)}")
    return lines


def not_measured(run: RunRecord) -> list[str]:
    """Return the sentences of :func:`not_run`, and one for each reason why metrics of cells are missing.

    That one names the metrics, the reason, and every cell with the number of its blocks.
    """
    found: dict[tuple[str, str], list[str]] = {}
    for cell in by_arm(run.cells):
        missing: dict[str, list[str]] = {}
        for metric, summary in cell.metrics.items():
            if summary.value is None or summary.reason:
                missing.setdefault(summary.reason or "no reason is given", []).append(metric)
        for reason, metrics in missing.items():
            which = ", ".join(metrics) if len(metrics) <= NAMED else f"{len(metrics)} metrics"
            match = _IN_BLOCKS.fullmatch(reason)
            why, blocks = match.groups() if match else (reason, "")
            where = f"{cell.arm} {cell.workload}" + f" ({blocks})" * bool(blocks)
            found.setdefault((which, why), []).append(where)
    return not_run(run) + [f"{which}: {why}: {', '.join(where)}" for (which, why), where in found.items()]
