"""Reading suites: YAML, checked against the workloads, stacks and metrics there are."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from fedbench.configfile import Section, nearest, read_yaml
from fedbench.errors import ConfigError, Problem
from fedbench.ids import MODES, Mode
from fedbench.loop import LOOPS
from harness.acceptance.sequence import least_blocks, looks_at
from harness.criterionfile import points_of, read_criteria
from harness.parameter import read_parameter, read_sweep
from harness.records.naming import wrong_name
from harness.suite import Arm, Suite, Tree, WorkloadSpec

SUITES = Path(__file__).parent / "suites"

Catalogue = Mapping[str, Mapping[str, Any]]
"""Workload kinds with their parameters and defaults."""

CheckSettings = Callable[[str, Mode, Mapping[str, Any]], Iterable[str]]
"""``check(stack, mode, settings)`` gives what is wrong, nothing if all is well."""


def suite_names() -> list[str]:
    """Return the suites that come with the harness."""
    return sorted(path.stem for path in SUITES.glob("*.yaml"))


def load_suite(
    name: str, catalogue: Catalogue, stacks: Sequence[str], *, check: CheckSettings | None = None
) -> Suite:
    """Read a suite by name or from a YAML file.

    Args:
        name: One of :func:`suite_names`, or the path of a file.
        catalogue: Workload kinds with their parameters and defaults.
        stacks: Known systems under test.
        check: Says what is wrong with the settings of a system under test.

    Raises:
        ConfigError: With every problem and its path.
    """
    path = SUITES / f"{name}.yaml"
    if name not in suite_names():
        path = Path(name)
        if path.suffix not in (".yaml", ".yml") and not path.is_file():
            raise ConfigError(name, [Problem("", f"is no suite{nearest(name, suite_names())}")])
    return _Reader(path, catalogue, stacks, check).read()


class _Reader:
    def __init__(
        self, path: Path, catalogue: Catalogue, stacks: Sequence[str], check: CheckSettings | None
    ) -> None:
        self._path = path
        self._catalogue = catalogue
        self._stacks = stacks
        self._check = check
        self._problems: list[Problem] = []

    def read(self) -> Suite:
        root = Section(read_yaml(self._path), "", self._problems)
        workloads = self._workloads(root.section("workloads"))
        mode: Mode = root.choice("mode", MODES, "memory")
        arms = self._arms(root.section("arms"), workloads, mode)
        arms |= self._sweep(root.section("sweep"), arms, workloads)
        self._check_settings(root, arms)
        looks = _looks(root)
        suite = Suite(
            root.string("suite", self._path.stem),
            root.string("title", self._path.stem),
            looks[-1] if looks else root.integer("blocks", 5, least=1),
            root.choice("tree", get_args(Tree), "arm"),
            arms,
            workloads,
            read_criteria(root.value("criteria"), arms, workloads, self._problems),
            budget_s=_limit(root, "budget_s"),
            looks=looks,
            time_s=_limit(root, "time_s"),
        )
        if wrong := wrong_name(suite.name):
            root.problem("suite", wrong)
        root.finish()
        if self._problems:
            raise ConfigError(str(self._path), self._problems)
        return suite

    def _workloads(self, section: Section) -> dict[str, WorkloadSpec]:
        specs: dict[str, WorkloadSpec] = {}
        for name in section.names():
            for spec in self._workload(section, name):
                if spec.name in specs:
                    section.problem(name, f"there are two workloads {spec.name!r}")
                specs[spec.name] = spec
        if not section.names():
            section.problem("", "at least one workload is needed")
        return specs

    def _workload(self, section: Section, name: str) -> list[WorkloadSpec]:
        """Return a workload, or one for each point of its sweep."""
        part = section.section(name)
        kind = part.string("workload", name)
        if kind not in self._catalogue:
            where = "workload" if part.has("workload") else ""
            part.problem(where, f"unknown workload {kind!r}{nearest(kind, list(self._catalogue))}")
            return []
        defaults = self._catalogue[kind]
        blocks = part.integer("blocks", None, least=1) if part.has("blocks") else None
        params = {key: read_parameter(part, key, value) for key, value in defaults.items()}
        spec = WorkloadSpec(name, kind, params, blocks, _limit(part, "timeout_s"))
        points = read_sweep(part, f"workloads.{name}", defaults, self._problems)
        part.finish()
        swept = [
            replace(spec, name=f"{name}@{p.label}", params=params | p.params, swept=tuple(p.params))
            for p in points
        ]
        made = swept or [spec]
        for wrong in filter(None, (wrong_name(each.name) for each in made)):
            part.problem("", wrong)
        return made

    def _arms(self, section: Section, workloads: Mapping[str, WorkloadSpec], usual: Mode) -> dict[str, Arm]:
        arms: dict[str, Arm] = {}
        for name in section.names():
            part = section.section(name)
            stack = part.choice("stack", self._stacks, name)
            if stack not in self._stacks and not part.has("stack"):
                part.problem("stack", f"is missing, and {name!r} is none{nearest(name, self._stacks)}")
            names = _workload_names(part, tuple(workloads), workloads)
            control_of = part.string("control_of", "")
            if control_of and control_of not in arms:
                part.problem(
                    "control_of",
                    f"no arm {control_of!r} stands before this one{nearest(control_of, list(arms))}",
                )
            blocks = part.integer("blocks", None, least=1) if part.has("blocks") else None
            mode: Mode = part.choice("mode", MODES, usual)
            loop = part.choice("loop", LOOPS, "auto")
            arms[name] = Arm(name, stack, mode, loop, part.mapping("settings"), names, control_of, blocks)
            if wrong := wrong_name(name):
                part.problem("", wrong)
            part.finish()
        if not arms:
            section.problem("", "at least one arm is needed")
        return arms

    def _sweep(
        self, section: Section, arms: Mapping[str, Arm], workloads: Mapping[str, WorkloadSpec]
    ) -> dict[str, Arm]:
        if not section.names():
            return {}
        base_name = section.string("base", "")
        base = arms.get(base_name)
        setting = section.string("setting", "poll_interval_s")
        values = section.value("values")
        shared = section.mapping("settings")
        names = _workload_names(section, base.workloads if base else (), workloads)
        blocks = section.integer("blocks", None, least=1) if section.has("blocks") else None
        section.finish()
        if base is None:
            wrong = f"no arm {base_name!r}" if base_name else "is missing"
            section.problem("base", f"{wrong}{nearest(base_name, list(arms))}")
            return {}
        if not isinstance(values, list) or not values or not all(map(_is_positive, values)):
            section.problem("values", "expected a list of numbers above 0")
            return {}
        swept = {}
        for value in values:
            name = f"{base_name}@{value:g}"
            if name in swept or name in arms:
                section.problem("values", f"there are two arms {name!r}")
            settings = {**base.settings, **shared, setting: value}
            swept[name] = replace(
                base,
                name=name,
                settings=settings,
                workloads=names,
                control_of="",
                blocks=blocks,
                sweep_value=float(value),
            )
        return swept

    def _check_settings(self, root: Section, arms: Mapping[str, Arm]) -> None:
        if self._check is None:
            return
        for name, arm in arms.items():
            if arm.stack in self._stacks:
                where = "sweep.settings" if arm.sweep_value is not None else f"arms.{name}.settings"
                for message in self._check(arm.stack, arm.mode, arm.settings):
                    root.problem(where, message)


def _workload_names(
    section: Section, default: tuple[str, ...], workloads: Mapping[str, WorkloadSpec]
) -> tuple[str, ...]:
    """Return the names of an arm's workloads; the name of one that is swept stands for all of its points."""
    names: list[str] = []
    for name in section.strings("workloads", default):
        names += points_of(name, workloads) or [name]
    for name in dict.fromkeys(names):
        if name not in workloads:
            section.problem("workloads", f"unknown workload {name!r}{nearest(name, list(workloads))}")
        elif names.count(name) > 1:
            section.problem("workloads", f"{name!r} stands there {names.count(name)} times")
    return tuple(names)


def _looks(root: Section) -> tuple[int, ...]:
    """Return the looks of a suite in blocks, none where it has ``blocks``; what is wrong is told once."""
    value = root.value("looks")
    if value is None:
        return ()
    if (
        not isinstance(value, list)
        or not value
        or not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in value)
        or sorted(set(value)) != value
    ):
        root.problem("looks", "expected increasing whole numbers of blocks, such as [6, 10, 16, 24]")
        return ()
    if root.has("blocks"):
        root.value("blocks")
        root.problem("blocks", "stands beside looks: leave one of the two out")
    first = looks_at(value, value[0], over=False)[0]
    if least_blocks(first.level) > value[0]:
        needed = least_blocks(first.level)
        root.problem(
            "looks", f"the first look, at {value[0]} blocks, can decide nothing: {needed} are needed"
        )
    return tuple(value)


def _limit(section: Section, key: str) -> float | None:
    """Return a time limit in seconds, None where there is none."""
    return section.number(key, 0.0, above=0.0) if section.has(key) else None


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf
