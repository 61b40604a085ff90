"""How long a comparison of two revisions takes. Pure."""

from __future__ import annotations

SIDES = 3
"""Runs of the suite in a block: base, candidate and base again."""
START_S = 1.5
"""Start and end of the program itself, in each run, in seconds."""
CONFIRMING_SHARE = 0.5
"""Share of a batch that confirming what it suspects usually takes: it runs the suspected cells only."""


def batch_s(blocks: int, suite_s: float, slowness: float) -> float:
    """Return about how long a batch takes in seconds.

    Args:
        blocks: Its blocks.
        suite_s: One block of the suite on the machine that the estimates are of, in seconds.
        slowness: How many times as long this machine takes to compute.
    """
    return blocks * SIDES * (suite_s + START_S) * max(1.0, slowness)


def beforehand(blocks: int, suite_s: float, slowness: float) -> str:
    """Return how long it takes, told before it begins: most cells wait more than they compute."""
    batch = batch_s(blocks, suite_s, slowness)
    most = (1 + CONFIRMING_SHARE) * batch
    return (
        f"{blocks} blocks of {SIDES} runs: about {minutes(batch)}, and up to {minutes(most)} if something "
        "has to be confirmed"
    )


def left(done: int, blocks: int, taken_s: float) -> str:
    """Return how much is left of a batch, from how long some blocks took; empty before the first."""
    return f", about {minutes(taken_s / done * (blocks - done))} left" if done else ""


def minutes(seconds: float) -> str:
    """Return a time for people."""
    return f"{max(1, round(seconds))} s" if seconds < 90 else f"{round(seconds / 60)} min"
