"""Reading one criterion of a suite file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.acceptance.criteria import KINDS, PROMISES, Comparison, Criterion, Promise
from harness.records.format import compact
from harness.records.naming import wrong_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fedbench.configfile import Section
    from harness.suite import WorkloadSpec


def read_criterion(part: Section, workloads: Mapping[str, WorkloadSpec]) -> Criterion:
    """Return a criterion; what is wrong with it is noted in its section.

    Args:
        part: Where it stands.
        workloads: The workloads of the suite, points of sweeps among them.
    """
    kind = part.choice("kind", KINDS, "limit")
    if not part.has("kind"):
        part.problem("kind", f"is missing: use one of {', '.join(KINDS)}")
    if kind not in ("equal", "frontier") and not part.has("target"):
        part.problem("target", "is missing")
    identity = part.string("id", "")
    if not identity:
        part.problem("id", "is missing")
    elif wrong := wrong_name(identity):
        part.problem("id", wrong)
    promise: Promise = part.choice("promise", PROMISES, "")
    along, workload, points = _along(part, part.string("workload", ""), workloads)
    criterion = Criterion(
        identity,
        part.string("title", identity),
        kind,
        workload,
        part.string("metric", ""),
        part.string("arm", ""),
        part.string("against", ""),
        part.string("against_workload", ""),
        part.number("target", 0.0, above=-1.0),
        part.string("workload2", ""),
        part.string("metric2", ""),
        part.string("valid_if", ""),
        promise,
        part.string("note", ""),
        (*_beside(part), *points),
        along,
    )
    part.finish()
    return criterion


def _along(
    part: Section, base: str, workloads: Mapping[str, WorkloadSpec]
) -> tuple[str, str, tuple[Comparison, ...]]:
    """Return the swept parameter, the workload of the deciding point, and the other points."""
    along, at = part.string("along", ""), str(part.value("at") or "")
    if not along:
        if at:
            part.problem("at", "says nothing without along: name the swept parameter there")
        return "", base, ()
    swept = [w for w in workloads.values() if w.base == base and w.swept == (along,)]
    if not swept:
        part.problem("along", f"{base!r} is no workload that is swept by {along!r} alone")
        return "", base, ()
    names = [w.name.partition("@")[2] for w in swept]
    if at not in names:
        part.problem("at", f"{at!r} is no point of {base}: use one of {', '.join(names)}")
        return "", base, ()
    others = tuple(_point(w, along) for w in swept if w.name != f"{base}@{at}")
    return along, f"{base}@{at}", others


def _point(workload: WorkloadSpec, along: str) -> Comparison:
    value = float(workload.params[along])
    unit = "B" if along.endswith("bytes") else ""
    return Comparison(f"at {compact(value, unit)}", workload=workload.name, point=value)


def _beside(part: Section) -> tuple[Comparison, ...]:
    found = []
    for one in part.sections("beside"):
        label = one.string("label", "")
        if not label:
            one.problem("label", "is missing")
        arm, against = one.string("arm", ""), one.string("against", "")
        workload, other = one.string("workload", ""), one.string("against_workload", "")
        found.append(Comparison(label, arm, against, workload, other))
        one.finish()
    return tuple(found)
