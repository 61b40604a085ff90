"""Whether a run's record and its observations tell of the same cells. Pure.

Reports show verdicts from the one and distributions from the other: where observations were lost or
edited, a pass would stand on nothing.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from harness.records.summary import is_quiet

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from harness.records.schema import CellRecord, Observation, RunRecord


def contradictions(record: RunRecord, observations: Sequence[Observation]) -> list[str]:
    """Return what a record and observations contradict each other in, nothing if they agree.

    The record of a run that is going on, or was killed, may be older than its last observations; it never
    tells of more than there are.
    """
    going_on = record.ended == "interrupted"
    return [
        *_twice(observations),
        *_cells(record, observations, going_on),
        *_order(record, observations, going_on),
    ]


def _twice(observations: Sequence[Observation]) -> Iterator[str]:
    counts = Counter((o.block, o.arm, o.workload) for o in observations)
    for (block, arm, workload), count in counts.items():
        if count > 1:
            yield f"has {arm} {workload} of block {block} {count} times"


def _cells(record: RunRecord, observations: Sequence[Observation], going_on: bool) -> Iterator[str]:
    made: dict[tuple[str, str], list[Observation]] = {}
    for o in observations:
        made.setdefault((o.arm, o.workload), []).append(o)
    for cell in record.cells:
        group = made.pop((cell.arm, cell.workload), [])
        name = f"{cell.arm} {cell.workload}"
        if not group:
            yield f"has no {name}, which run.json tells of"
        elif going_on:
            most = max((summary.n for summary in cell.metrics.values()), default=0)
            if most > len(group):
                yield f"has {name} in {len(group)} blocks, run.json in {most}"
        else:
            yield from _values(cell, group)
    if not going_on:
        yield from (f"has {arm} {workload}, which run.json does not tell of" for arm, workload in made)


def _values(cell: CellRecord, group: Sequence[Observation]) -> Iterator[str]:
    """Return the first metric of a cell that has another number of values."""
    for metric, summary in cell.metrics.items():
        values = sum(is_quiet(o) and o.metrics.get(metric) is not None for o in group)
        if values != summary.n:
            name = f"{cell.arm} {cell.workload} {metric}"
            yield f"has {values} value{'s' * (values != 1)} of {name}, run.json {summary.n}"
            return


def _order(record: RunRecord, observations: Sequence[Observation], going_on: bool) -> Iterator[str]:
    """Return the first block whose arms are others than those that ran."""
    ran: dict[int, set[str]] = {}
    for o in observations:
        ran.setdefault(o.block, set()).update((o.arm, f"{o.arm}/{o.workload}"))
    blocks = sorted(ran)
    if len(blocks) < len(record.order) or (len(blocks) > len(record.order) and not going_on):
        yield f"has {len(blocks)} blocks, run.json {len(record.order)}"
        return
    for block, names in zip(blocks, record.order, strict=False):
        lost = set(names) - ran[block]
        if lost:
            yield f"has no {min(lost)} in block {block}, where run.json tells of it"
            return
