"""Reading a workload's parameters: one value each, or a sweep of several."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

from fedbench.configfile import Section, nearest
from harness.suite import least

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fedbench.errors import Problem

MOST_SWEPT = 2
"""Parameters that one sweep may have: a table of results has two sides."""


class Point(NamedTuple):
    """One point of a sweep.

    Attributes:
        label: What stands behind the ``@`` in the name of its workload: the values, in order.
        params: The parameters that the sweep sets.
    """

    label: str
    params: dict[str, Any]


def read_parameter(section: Section, key: str, default: Any, *, name: str = "") -> Any:
    """Return the value of a parameter, checked against the type of its default.

    Args:
        section: Where it stands.
        key: Under which key.
        default: What it is where nothing stands there.
        name: Its name, where that is not the key.
    """
    if isinstance(default, bool):
        return section.boolean(key, default=default)
    if isinstance(default, int):
        return section.integer(key, default, least=least(name or key))
    if isinstance(default, float):
        return section.number(key, default, above=0.0)
    return section.string(key, default)


def read_sweep(
    workload: Section, path: str, defaults: Mapping[str, Any], problems: list[Problem]
) -> list[Point]:
    """Return the points of a workload's ``sweep``, values of the last parameter first; none without one.

    Args:
        workload: The workload.
        path: Its dotted path.
        defaults: Parameters of its kind, and their defaults.
        problems: Where problems are collected.
    """
    if not workload.has("sweep"):
        return []
    section = workload.section("sweep")
    names = section.names()
    if not 1 <= len(names) <= MOST_SWEPT:
        if names or workload.value("sweep") in (None, {}):  # what is no mapping was told already
            section.problem("", f"expected one or two parameters with their values, found {len(names)}")
        return []
    columns = []
    for name in names:
        if name not in defaults:
            section.problem(name, f"unknown parameter{nearest(name, sorted(defaults))}")
        elif workload.has(name):
            section.problem(name, "has a value beside the sweep: leave one of the two out")
        else:
            columns.append(_values(section, name, f"{path}.sweep", defaults[name], problems))
    if len(columns) < len(names):
        return []
    return [
        Point(",".join(map(_label, values)), dict(zip(names, values, strict=True)))
        for values in itertools.product(*columns)
    ]


def _values(section: Section, name: str, path: str, default: Any, problems: list[Problem]) -> list[Any]:
    values = section.value(name)
    if not isinstance(values, list) or not values:
        section.problem(name, "expected a list of values")
        return []
    keys = [f"{name}[{i}]" for i in range(len(values))]
    items = Section(dict(zip(keys, values, strict=True)), path, problems)
    read = [read_parameter(items, key, default, name=name) for key in keys]
    for key, value in zip(keys, values, strict=True):
        if value is None:
            items.problem(key, "expected a value, found nothing")
    labels = list(map(_label, read))
    if None not in values:
        for i, label in enumerate(labels):
            if label in labels[:i] and read[i] == values[i]:  # a wrong value was told already
                items.problem(keys[i], f"{label} stands there before")
    return read


def _label(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
