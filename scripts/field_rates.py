#!/usr/bin/env python3
"""How often the rules of other tools err on the samples that fedbench's own rule is judged by.

    pip install pyperf asv pytest-benchmark
    scripts/field_rates.py [RUN] [--comparisons 300] [--blocks 8]

RUN is the folder of a run of one version, by default the base runs that ``fedbench aa`` keeps for this class
of machines. Two stretches of its blocks that do not overlap are two runs of the same code; in one of them a
metric may be made worse. Each tool judges every time and CPU time by its own functions:

- pytest-benchmark with ``--benchmark-compare-fail=median:10%``: the medians differ by more than 10 %
  (``pytest_benchmark.utils.PercentageRegressionCheck``),
- pyperf ``compare_to``: Student's t-test of two samples at 95 % (``pyperf._utils.is_significant``), slower,
- asv ``continuous`` or ``compare``: Mann-Whitney's test below 0.002 and slower by a factor of 1.1
  (``asv._stats.is_different``, ``asv.commands.compare._is_result_better``).

They hold no level for all metrics together, as they are made for one benchmark each. fedbench's rule is that
of stored runs (``check``), and that of versions measured in turn (``ab``) where RUN has blocks for two
batches. Where RUN is short of four stretches its blocks are drawn in random order, which hides any drift.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import random
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.records.environment import fingerprint, machine_class
from harness.regression import aa
from harness.regression.changes import key_of, suspected
from harness.regression.drawing import blocks_of, stretches
from harness.regression.margins import MARGINS, counted
from harness.regression.resampling import Apart, SideBySide
from harness.regression.runs import read_run
from harness.stats.rates import rate_upper

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harness.regression.drawing import Pool
    from harness.regression.verdict import Key

    Rule = Callable[[Sequence[float], Sequence[float]], bool]

FACTOR = 1.1
SIZES = (1.0, 1.2, 2.0)
"""What one metric is multiplied by; 1 is the same code."""


def rules() -> dict[str, Rule]:
    """Return for each tool what says that a candidate is slower than a base, from its own functions."""
    pyperf = importlib.import_module("pyperf._utils")
    compare = importlib.import_module("asv.commands.compare")
    check = importlib.import_module("pytest_benchmark.utils").PercentageRegressionCheck("median", 10.0)

    def pytest_benchmark(base: Sequence[float], candidate: Sequence[float]) -> bool:
        medians = ({"median": statistics.median(side)} for side in (candidate, base))
        return bool(check.fails(*medians))

    def compare_to(base: Sequence[float], candidate: Sequence[float]) -> bool:
        significant, _ = pyperf.is_significant(base, candidate)
        return bool(significant) and statistics.mean(candidate) > statistics.mean(base)

    def asv(base: Sequence[float], candidate: Sequence[float]) -> bool:
        sides: list[Any] = [
            ({"repeat": len(s), "ci_99_a": min(s), "ci_99_b": max(s)}, s) for s in (base, candidate)
        ]
        middle = [statistics.median(side) for side in (base, candidate)]
        return bool(compare._is_result_better(*middle, *sides, FACTOR))

    return {
        f"pytest-benchmark {_version('pytest-benchmark')}, median:10%": pytest_benchmark,
        f"pyperf {_version('pyperf')}, compare_to": compare_to,
        f"asv {_version('asv')}, factor 1.1": asv,
    }


def of_tool(pool: Pool, rule: Rule, blocks: int, factors: dict[Key, float], rng: random.Random) -> set[Key]:
    """Return the metrics that a tool calls slower."""
    base, candidate = stretches(blocks_of(pool), blocks, rng)
    found = set()
    for key, values in pool.items():
        sides = [[values[b] for b in side if b in values] for side in (base, candidate)]
        if len(sides[0]) == len(sides[1]) == blocks and min(map(min, sides)) > 0:
            slower = [value * factors.get(key, 1.0) for value in sides[1]]
            if rule(sides[0], slower):
                found.add(key)
    return found


def shuffled(pool: Pool, rng: random.Random) -> Pool:
    """Return a pool with its blocks in random order."""
    blocks = blocks_of(pool)
    order = dict(zip(blocks, rng.sample(blocks, len(blocks)), strict=True))
    return {key: {order[b]: value for b, value in values.items()} for key, values in pool.items()}


def rates(
    pool: Pool, judge: Callable[[Pool, dict[Key, float], random.Random], set[Key]], count: int
) -> list[int]:
    """Return how many of so many comparisons alarm without a change, and find one of each further size."""
    found = []
    keys = [key for key, values in pool.items() if key.metric in MARGINS and min(values.values()) > 0]
    for size in SIZES:
        rng, hits = random.Random(1), 0
        for number in range(count):
            target = keys[number % len(keys)]
            slower = judge(pool, {target: size} if size > 1 else {}, rng)
            hits += bool(slower) if size == 1 else target in slower
        found.append(hits)
    return found


def main() -> int:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description="Rates of other tools' rules on stored base runs.")
    parser.add_argument("run", nargs="?", type=Path, help="folder of a run of one version")
    parser.add_argument("--comparisons", type=int, default=300)
    parser.add_argument("--blocks", type=int, default=8, help="blocks of either side")
    asked = parser.parse_args()
    try:
        judges = rules()
    except ImportError as error:
        print(f"{error}: pip install pyperf asv pytest-benchmark", file=sys.stderr)
        return 2
    base = _base(asked.run)
    if base is None:
        print("this machine is not calibrated: run `fedbench aa`, or name a run", file=sys.stderr)
        return 2
    raw, floored = (_times(aa.pool_of(samples)) for samples in (base.paired, base.floored))
    blocks, few = asked.blocks, len(blocks_of(raw)) < 4 * asked.blocks

    def drawn(pool: Pool, rng: random.Random) -> Pool:
        return shuffled(pool, rng) if few else pool

    print(
        f"{base.machine}, {len(blocks_of(raw))} base runs of {base.measured_utc}, {len(raw)} metrics, "
        f"{blocks} blocks a side{', in random order' if few else ''}, {asked.comparisons} comparisons each\n"
    )
    print("| rule | alarms without a change | +20 % found | +100 % found |\n|---|---:|---:|---:|")
    for name, rule in judges.items():
        _row(
            name,
            rates(
                raw, lambda p, f, r, rule=rule: of_tool(drawn(p, r), rule, blocks, f, r), asked.comparisons
            ),
            asked.comparisons,
        )
    for name, pool, procedure in (
        ("fedbench check", floored, Apart(MARGINS, blocks)),
        ("fedbench ab", raw, SideBySide(MARGINS, blocks)),
    ):
        if name == "fedbench ab" and len(blocks_of(pool)) < 6 * blocks + 2:
            continue

        def judge(p: Pool, f: dict[Key, float], r: random.Random, procedure: Any = procedure) -> set[Key]:
            changes = suspected(procedure.changes(drawn(p, r), f, r))
            return {key_of(c) for c in changes if c.verdict == "regressed"}

        _row(name, rates(pool, judge, asked.comparisons), asked.comparisons)
    return 0


def _base(run: Path | None) -> aa.BaseRuns | None:
    if run is not None:
        return aa.base_runs(read_run(run, whole=False))
    known = aa.known(machine_class(fingerprint()))
    return None if known is None else known.base


def _times(pool: Pool) -> Pool:
    return {key: values for key, values in pool.items() if not counted(key.metric)}


def _row(name: str, found: Sequence[int], count: int) -> None:
    alarms, *others = found
    shares = " | ".join(f"{hits / count:.0%}" for hits in others)
    print(
        f"| {name} | {alarms / count:.1%} (at most {rate_upper(alarms, count):.1%}) | {shares} |", flush=True
    )


def _version(package: str) -> str:
    return importlib.metadata.version(package)


if __name__ == "__main__":
    sys.exit(main())
