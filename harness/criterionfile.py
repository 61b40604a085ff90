"""Reading the criteria of a suite, checked against its arms, workloads and the metrics there are."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fedbench.configfile import Section, nearest
from fedbench.errors import Problem
from harness.acceptance.criteria import KINDS, PROMISES, Aside, Criterion
from harness.records.metrics import METRICS
from harness.records.naming import wrong_name
from harness.suite import cells_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.suite import Arm, WorkloadSpec

TEXTS = ("model_digest",)


def read_criteria(
    value: Any, arms: Mapping[str, Arm], workloads: Mapping[str, WorkloadSpec], problems: list[Problem]
) -> tuple[Criterion, ...]:
    """Return the criteria of a suite.

    Args:
        value: What stands under ``criteria``.
        arms: The suite's arms.
        workloads: The suite's workloads, points of sweeps each by itself.
        problems: Where problems are collected.
    """
    if value is None:
        return ()
    if not isinstance(value, list):
        problems.append(Problem("criteria", "expected a list"))
        return ()
    criteria: list[Criterion] = []
    for i, item in enumerate(value):
        path = f"criteria[{i}]"
        part = Section(item, path, problems)
        criterion = _criterion(part, path, problems)
        criterion = _on_sweep(part, criterion, arms, workloads)
        _check_names(part, criterion, arms, workloads)
        if criterion.id and any(other.id == criterion.id for other in criteria):
            part.problem("id", f"{criterion.id!r} is the id of an earlier criterion")
        criteria.append(criterion)
    return tuple(criteria)


def points_of(name: str, workloads: Mapping[str, WorkloadSpec]) -> list[str]:
    """Return the points of a swept workload, none where it is not swept."""
    return [w.name for w in workloads.values() if w.swept and w.base == name]


def _criterion(part: Section, path: str, problems: list[Problem]) -> Criterion:
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
    criterion = Criterion(
        identity,
        part.string("title", identity),
        kind,
        part.string("workload", ""),
        part.string("metric", ""),
        part.string("arm", ""),
        part.string("against", ""),
        part.string("against_workload", ""),
        part.number("target", 0.0, above=-1.0),
        part.string("workload2", ""),
        part.string("metric2", ""),
        part.string("valid_if", ""),
        part.choice("promise", ("", *PROMISES), ""),
        part.string("note", ""),
        _asides(part, path, problems),
        part.string("along", ""),
        str(part.value("at") if part.has("at") else ""),
    )
    part.finish()
    return criterion


def _asides(part: Section, path: str, problems: list[Problem]) -> tuple[Aside, ...]:
    value = part.value("beside")
    if value is None:
        return ()
    if not isinstance(value, list):
        part.problem("beside", "expected a list")
        return ()
    asides = []
    for i, item in enumerate(value):
        section = Section(item, f"{path}.beside[{i}]", problems)
        keys = ("label", "arm", "against", "workload", "against_workload", "metric")
        aside = Aside(*(section.string(key, "") for key in keys))
        section.finish()
        if not aside.label:
            section.problem("label", "is missing: say what is different")
        elif aside == Aside(aside.label):
            section.problem("", "is the criterion itself: name another arm, against, workload or metric")
        asides.append(aside)
    return tuple(asides)


def _on_sweep(
    part: Section, c: Criterion, arms: Mapping[str, Arm], workloads: Mapping[str, WorkloadSpec]
) -> Criterion:
    """Return a criterion ``along`` a sweep as one of its point ``at``, the other points beside it."""
    if not c.along and not c.at:
        return c
    points = points_of(c.workload, workloads)
    deciding = f"{c.workload}@{c.at}"
    if c.along and c.at and points and workloads[points[0]].swept != (c.along,):
        part.problem("along", f"{c.workload!r} is swept by {', '.join(workloads[points[0]].swept)}")
    elif not c.along or not c.at:
        part.problem("along" if c.at else "at", "is missing: the two belong together")
    elif not points:
        part.problem("along", f"{c.workload!r} is not swept")
    elif deciding not in points:
        labels = ", ".join(name.partition("@")[2] for name in points)
        part.problem("at", f"{c.at!r} is no point of {c.workload!r}: use one of {labels}")
    else:
        runs = [p for p in points if p != deciding and c.arm in arms and p in arms[c.arm].workloads]
        shown = tuple(Aside(f"at {_size(c.along, p.partition('@')[2])}", workload=p) for p in runs)
        return replace(c, workload=deciding, beside=(*c.beside, *shown))
    return replace(c, workload=deciding if deciding in points else c.workload)


def _size(parameter: str, label: str) -> str:
    if not parameter.endswith("bytes") or not label.isdigit():
        return f"{parameter} {label}"
    size = int(label)
    for power, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if size >= 1 << power:
            return f"{size / (1 << power):g} {unit}"
    return f"{size} bytes"


def _check_names(
    part: Section, c: Criterion, arms: Mapping[str, Arm], workloads: Mapping[str, WorkloadSpec]
) -> None:
    needs_against = c.kind in ("reduction", "ratio", "frontier")
    metrics = TEXTS if c.kind == "equal" else tuple(METRICS)
    checks: list[tuple[str, str, Sequence[str], bool]] = [
        ("workload", c.workload, list(workloads), True),
        ("metric", c.metric, metrics, True),
        ("arm", c.arm, list(arms), c.kind != "equal"),
        ("against", c.against, list(arms), needs_against),
        ("against_workload", c.against_workload, list(workloads), False),
        ("workload2", c.workload2, list(workloads), c.kind == "frontier"),
        ("metric2", c.metric2, metrics, c.kind == "frontier"),
        ("valid_if", c.valid_if, list(workloads), False),
    ]
    for key, name, known, needed in checks:
        _check_name(part, key, name, known, workloads, needed=needed)
    _check_asides(part, c, arms, workloads)
    for arm, workload in sorted(cells_of(c, arms)):
        if arm in arms and workload in workloads and workload not in arms[arm].workloads:
            part.problem("", f"the arm {arm!r} does not run {workload!r}")


def _check_asides(
    part: Section, c: Criterion, arms: Mapping[str, Arm], workloads: Mapping[str, WorkloadSpec]
) -> None:
    if c.beside and c.kind not in ("reduction", "ratio", "limit"):
        part.problem("beside", f"has no meaning for {c.kind}: only for reduction, ratio and limit")
    for i, aside in enumerate(c.beside):
        for key, name, known in (
            ("arm", aside.arm, list(arms)),
            ("against", aside.against, list(arms)),
            ("workload", aside.workload, list(workloads)),
            ("against_workload", aside.against_workload, list(workloads)),
            ("metric", aside.metric, list(METRICS)),
        ):
            _check_name(part, f"beside[{i}].{key}", name, known, workloads, needed=False)
        pairs = [(aside.arm or c.arm, aside.workload or c.workload)]
        if c.against or aside.against:
            other = aside.against_workload or aside.workload or c.other_workload
            pairs.append((aside.against or c.against, other))
        for arm, workload in pairs:
            if arm in arms and workload in workloads and workload not in arms[arm].workloads:
                part.problem(f"beside[{i}]", f"the arm {arm!r} does not run {workload!r}")


def _check_name(
    part: Section,
    key: str,
    name: str,
    known: Sequence[str],
    workloads: Mapping[str, WorkloadSpec],
    *,
    needed: bool,
) -> None:
    if name and name not in known:
        points = points_of(name, workloads)
        hint = f"; it is swept: name one of {', '.join(points)}" if points else nearest(name, known)
        part.problem(key, f"unknown {key.rpartition('.')[2].rstrip('2')} {name!r}{hint}")
    elif needed and not name:
        part.problem(key, "is missing")
