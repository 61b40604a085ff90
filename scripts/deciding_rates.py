#!/usr/bin/env python
"""Print how often criteria are decided rightly and wrongly, by simulation through the very code that decides.

A reduction of 80 % is decided on blocks drawn from a log-normal distribution; every draw is decided as a run
would: looks at 6, 10, 16 and 24 quiet blocks and six fresh blocks for a suspected fail. ``at`` is the true
factor between what push leaves and the target: 1.00 lies at the target, where a pass and a fail are equally
wrong; at 0.70 push leaves 14 % where 20 % are allowed, and a pass is right.

Usage: python scripts/deciding_rates.py [DRAWS]
"""

from __future__ import annotations

import math
import random
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from harness.acceptance.control import control
from harness.acceptance.criteria import Criterion
from harness.acceptance.decide import Controls, Sizes, decide
from harness.acceptance.samples import Samples
from harness.acceptance.sequence import CONFIRMING, LOOKS
from harness.records.schema import Control, Observation

TARGET = 0.8
SPREAD = 0.10
"""Standard deviation of the logarithm of one value."""
BLOCKS = LOOKS[-1] + CONFIRMING

Noise = Callable[[random.Random], list[float]]
"""Draws the deviations of one arm's logarithms, a block each."""


def independent(rng: random.Random) -> list[float]:
    """Return deviations that know nothing of each other."""
    return [rng.gauss(0, SPREAD) for _ in range(BLOCKS)]


def drifting(rho: float) -> Noise:
    """Return stationary AR(1) deviations of the same spread."""

    def draw(rng: random.Random) -> list[float]:
        made = [rng.gauss(0, SPREAD)]
        while len(made) < BLOCKS:
            made.append(rho * made[-1] + rng.gauss(0, SPREAD * math.sqrt(1 - rho * rho)))
        return made

    return draw


def one_outlier(rng: random.Random) -> list[float]:
    """Return deviations of which one of the first six is that of a disturbed block, three times as large."""
    made = independent(rng)
    made[rng.randrange(6)] += math.log(3)
    return made


CASES: dict[str, Noise] = {
    "independent": independent,
    "drift, rho 0.5": drifting(0.5),
    "drift, rho 0.9": drifting(0.9),
    "one outlier": one_outlier,
}
FACTORS = (1.0, 0.9, 0.7, 0.2, 1.4)


def rates(noise: Noise, factor: float, draws: int, seed: int = 1) -> tuple[Counter[str], float]:
    """Return how often each verdict comes out, and after how many blocks on average.

    Args:
        noise: Of the arm; its A/A control and the other side are independent.
        factor: What the arm leaves, as a multiple of what the target allows.
        draws: How many.
        seed: Of the draws.
    """
    rng = random.Random(seed)
    criterion = Criterion("id", "title", "reduction", "idle", "cpu_cores", "push", "polling", target=TARGET)
    verdicts: Counter[str] = Counter()
    blocks = 0
    for _ in range(draws):
        centre = math.log((1 - TARGET) * factor)
        cells = {
            "push": [math.exp(centre + d) for d in noise(rng)],
            "again": [math.exp(centre + d) for d in independent(rng)],
            "polling": [math.exp(d) for d in independent(rng)],
        }
        samples = Samples(_observed(arm, b, v) for arm, vs in cells.items() for b, v in enumerate(vs, 1))
        sizes = Sizes(LOOKS)
        record = decide(criterion, samples, controlled(samples), mode="memory", sizes=sizes).record
        verdicts[record.verdict] += 1
        blocks += record.n
    return verdicts, blocks / draws


def controlled(samples: Samples) -> Controls:
    """Return what gives the A/A control of some blocks."""

    def of(key: tuple[str, str, str], blocks: Sequence[int]) -> Control:
        arm, workload, metric = key
        return control(samples, arm, "again", workload, metric, within=blocks)

    return lambda key, blocks: of(key, blocks) if key[1] else None


def _observed(arm: str, block: int, value: float) -> Observation:
    known: dict[str, Any] = {"stack": arm, "loop": "asyncio", "mode": "memory", "kind": "idle_federation"}
    return Observation(
        block=block,
        order=1,
        arm=arm,
        workload="idle",
        params={},
        status="ok",
        metrics={"cpu_cores": value},
        **known,
    )


def main() -> None:
    """Print the table of the documentation."""
    draws = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    print(f"{draws} draws a row, deviation of {SPREAD:.0%} a block and arm\n")
    print("| noise of push | at | pass | fail | inconclusive | contaminated | blocks |")
    print("|---|---|---|---|---|---|---|")
    for name, noise in CASES.items():
        for factor in FACTORS:
            verdicts, blocks = rates(noise, factor, draws)
            shares = " | ".join(
                f"{100 * verdicts[v] / draws:.1f} %" for v in ("pass", "fail", "inconclusive", "contaminated")
            )
            print(f"| {name} | {factor:.2f} | {shares} | {blocks:.1f} |", flush=True)


if __name__ == "__main__":
    main()
