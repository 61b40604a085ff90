"""Reading plain data strictly: typed values by key, every problem collected with its path."""

from __future__ import annotations

import difflib
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, overload

import yaml

from fedbench.errors import ConfigError, Problem
from fedbench.ids import check_name

Choice = TypeVar("Choice", bound=str)

# what PyYAML lets through for scalars that look like a date, a number or a truth value and are none
_NOT_YAML = (
    yaml.YAMLError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
_MAX_SHOWN = 60


class _StrictLoader(yaml.SafeLoader):
    """Refuses a mapping that has a key twice: one of the two would be lost in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f"key {key.value!r} stands twice", problem_mark=key.start_mark
                    )
                seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep)


def read_yaml(path: str | Path) -> Any:
    """Return what a YAML file holds.

    Raises:
        ConfigError: The file cannot be read, or is not YAML; the message says where.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigError(str(path), [Problem("", f"cannot be read: {reason}")]) from error
    try:
        return yaml.load(text, _StrictLoader)
    except _NOT_YAML as error:
        raise ConfigError(str(path), [Problem("", f"is not YAML: {' '.join(str(error).split())}")]) from error


def nearest(name: str, known: Sequence[str]) -> str:
    """Return ``; did you mean 'x'?`` for the known name most like ``name``, else the list of known names."""
    matches = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if matches:
        return f"; did you mean {matches[0]!r}?"
    return f"; known: {', '.join(sorted(set(known))) or 'none'}"


def in_document_order(problems: Sequence[Problem], data: Any) -> list[Problem]:
    """Return ``problems`` in the order of what they are about; what is missing comes last in its section."""
    return sorted(problems, key=lambda problem: _position(problem.path, data))


def _position(path: str, data: Any) -> tuple[float, ...]:
    """Return the positions, from the outside in, of the values that a dotted path leads through."""
    if not path:
        return ()
    items = list(data.items()) if isinstance(data, Mapping) else []
    if isinstance(data, list):
        items = [(f"[{index}]", item) for index, item in enumerate(data)]
    for index, (key, value) in enumerate(items):
        rest = path.removeprefix(str(key))
        if path.startswith(str(key)) and rest[:1] in ("", ".", "["):
            return (index, *_position(rest.removeprefix("."), value))
    return (math.inf,)


class Section:
    """One mapping of a configuration.

    Every getter returns a usable value even after a problem, so that reading goes on and all problems are
    found in one pass. :meth:`finish` reports the keys that nobody asked for.

    Args:
        data: What stands in the file; anything but a mapping is a problem (None counts as empty).
        path: Its dotted path, empty for the root.
        problems: Where problems are collected.
    """

    def __init__(self, data: Any, path: str, problems: list[Problem]) -> None:
        self._path = path
        self._problems = problems
        self._known: list[str] = []
        self._data: Mapping[Any, Any] = {}
        if isinstance(data, Mapping):
            self._data = data
        elif data is not None or not path:
            problems.append(Problem(path, f"expected a mapping, found {_kind(data)}"))

    def has(self, key: str) -> bool:
        """Whether the key stands there."""
        return key in self._data

    def names(self) -> list[str]:
        """Return every key as text, for sections whose keys are names; none of them counts as unknown."""
        return [str(key) for key in self._data]

    def problem(self, key: str, message: str) -> None:
        """Report a problem with one of this section's values, or with the section (empty key)."""
        self._problems.append(Problem(".".join(part for part in (self._path, key) if part), message))

    def value(self, key: str) -> Any:
        """Return whatever stands there, None if nothing does."""
        self._known.append(key)
        return self._data.get(key)

    def section(self, key: str) -> Section:
        """Return the mapping under ``key``; an empty one where there is none."""
        return Section(self.value(key), f"{self._path}.{key}" if self._path else key, self._problems)

    def sections(self, key: str) -> list[Section]:
        """Return the mappings in the list under ``key``; none where there is no list."""
        value = self.value(key)
        if value is None:
            return []
        path = f"{self._path}.{key}" if self._path else key
        if not isinstance(value, list):
            self._problems.append(Problem(path, "expected a list"))
            return []
        return [Section(item, f"{path}[{i}]", self._problems) for i, item in enumerate(value)]

    def mapping(self, key: str) -> dict[str, Any]:
        """Return the mapping under ``key`` as it is, its keys as text."""
        value = self.value(key)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            self.problem(key, f"expected a mapping, found {_kind(value)}")
            return {}
        return {str(name): item for name, item in value.items()}

    def string(self, key: str, default: str) -> str:
        """Return a text that is not empty."""
        value = self.value(key)
        if value is None:
            return default
        if not isinstance(value, str) or not value:
            self.problem(key, f"expected a text, found {_kind(value)}")
            return default
        return value

    def name(self, key: str, default: str) -> str:
        """Return a text that may name a node."""
        value = self.string(key, default)
        try:
            return check_name(value)
        except ValueError as error:
            self.problem(key, str(error))
            return value

    def choice(self, key: str, choices: Sequence[Choice], default: Choice) -> Choice:
        """Return one of ``choices``."""
        value = self.value(key)
        if value is None:
            return default
        if not isinstance(value, str) or value not in choices:
            hint = nearest(value if isinstance(value, str) else "", choices)
            self.problem(key, f"unknown value {shown(value)}{hint}")
            return default
        return choices[choices.index(value)]

    def integer(self, key: str, default: int | None, *, least: int, most: int | None = None) -> int:
        """Return a whole number of ``least`` to ``most``; without a default it must be there."""
        value = self.value(key)
        if value is None and default is not None:
            return default
        if value is None:
            self.problem(key, f"is missing: give a whole number of at least {least}")
        elif isinstance(value, bool) or not isinstance(value, int):
            self.problem(key, f"expected a whole number, found {_kind(value)}")
        elif value < least:
            self.problem(key, f"{shown(value)} is below {least}")
        elif most is not None and value > most:
            self.problem(key, f"{shown(value)} is above {most}")
        else:
            return value
        return least

    def number(self, key: str, default: float, *, above: float, most: float = math.inf) -> float:
        """Return a finite number in ``(above, most]``."""
        value = self.value(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.problem(key, f"expected a number, found {_kind(value)}")
        elif not above < value <= min(most, sys.float_info.max):
            limit = f" and at most {most:g}" if most < math.inf else ""
            self.problem(key, f"{shown(value)} is out of range: more than {above:g}{limit} is needed")
        else:
            return float(value)
        return default

    def boolean(self, key: str, *, default: bool) -> bool:
        """Return true or false."""
        value = self.value(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.problem(key, f"expected true or false, found {_kind(value)}")
            return default
        return value

    @overload
    def strings(self, key: str, default: tuple[str, ...]) -> tuple[str, ...]: ...

    @overload
    def strings(self, key: str, default: None) -> tuple[str, ...] | None: ...

    def strings(self, key: str, default: tuple[str, ...] | None) -> tuple[str, ...] | None:
        """Return a list of texts."""
        value = self.value(key)
        if value is None:
            return default
        if not isinstance(value, list):
            self.problem(key, f"expected a list of texts, found {_kind(value)}")
            return default
        for index, item in enumerate(value):
            if not isinstance(item, str) or not item:
                self.problem(f"{key}[{index}]", f"expected a text, found {_kind(item)}")
        return tuple(item for item in value if isinstance(item, str))

    def finish(self) -> None:
        """Report every key that no getter asked for, with the nearest one that exists."""
        for key in self._data:
            if key not in self._known:
                self.problem(str(key), f"unknown key{nearest(str(key), self._known)}")


def shown(value: Any) -> str:
    """Return a value for a message: a scalar as it is written, cut if it is long, else what it is."""
    if isinstance(value, int) and value.bit_length() > 4 * _MAX_SHOWN:
        return f"a number of {value.bit_length()} bits"
    text = repr(value) if isinstance(value, str | int | float) else _kind(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"


def _kind(value: Any) -> str:
    names = {type(None): "nothing", bool: "true or false", str: "text", list: "a list", dict: "a mapping"}
    name = names.get(type(value), "a number" if isinstance(value, int | float) else type(value).__name__)
    return f"{name} ({shown(value)})" if isinstance(value, str | int | float) else name
