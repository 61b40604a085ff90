"""The JSON file of one comparison, read with all that can be wrong with it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

from fedbench.errors import ConfigError, Problem
from harness.records.schema import SCHEMA_VERSION, ComparisonRecord
from harness.records.store import UNDECODABLE

if TYPE_CHECKING:
    from pathlib import Path


def read_comparison(path: Path) -> ComparisonRecord:
    """Return the comparison that ``--format json`` wrote.

    Raises:
        ConfigError: It cannot be read, is of another version, truncated, or no comparison.
    """
    try:
        data = msgspec.json.decode(path.read_bytes())
        version = data.get("schema_version") if isinstance(data, dict) else None
        if version != SCHEMA_VERSION:
            message = (
                f"has schema version {version}: this program reads version {SCHEMA_VERSION} of what "
                "`fedbench ab … --format json -o FILE` writes"
            )
            raise ConfigError(str(path), [Problem("", message)])
        record = msgspec.convert(data, ComparisonRecord)
    except OSError as error:
        raise ConfigError(str(path), [Problem("", f"cannot be read: {error.strerror}")]) from error
    except UNDECODABLE as error:
        raise ConfigError(str(path), [Problem("", f"is no comparison, or damaged: {error}")]) from error
    problems = [
        Problem(f"changes[{index}]", "was edited: a ratio is above 0, a margin at least 0")
        for index, change in enumerate(record.changes)
        if not (_positive(change.ratio, change.ci_low, change.ci_high) and change.margin >= 0)
    ]
    if problems:
        raise ConfigError(str(path), problems)
    return record


def _positive(*ratios: float | None) -> bool:
    return all(ratio is None or (ratio > 0 and math.isfinite(ratio)) for ratio in ratios)
