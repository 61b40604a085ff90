"""Base runs of one version, more or less noisy."""

from __future__ import annotations

from harness.regression.matching import compared
from harness.regression.stored import stored
from harness.regression.verdict import Key
from tests.fakes.stored import observations

ROUND = Key("push", "round", "round_s")


def pool_of(blocks, spread=0.02, seed=0):
    made = stored(observations(blocks, spread=spread, seed=seed))
    return {key: made.values[key] for key in compared(made, made)}


QUIET, LIVELY, NOISY = (pool_of(60, spread=spread) for spread in (0.02, 0.1, 0.4))
