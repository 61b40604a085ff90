"""Samples of a base and a candidate, made up."""

from harness.records.schema import Change
from harness.regression.changes import compare
from harness.regression.margins import Margin
from harness.regression.verdict import Key, Sides

KEY = Key("push", "rpc_ping", "latency_p50_s")
MARGINS = {
    "latency_p50_s": Margin(0.10, 5e-6),
    "log_records_per_op": Margin(0.01, 0.01),
    "accuracy": Margin(0.10, 0.001),  # higher is better
}
SPREAD = (1.00, 1.02, 0.99, 1.01, 0.98, 1.03, 1.00, 0.97, 1.015, 1.005)
"""Ten blocks of one version, as shares of their middle."""


def sides(factor: float = 1.0, base: float = 1e-3, n: int = 10, **more: object) -> Sides:
    """Samples whose candidate is ``factor`` times the base, each side with its own noise."""
    before = [base * share for share in SPREAD[:n]]
    after = [base * factor * share for share in SPREAD[n - 1 :: -1]]
    return Sides(before, after, **more)


def one(samples: Sides, key: Key = KEY, **options: float) -> Change:
    (change,) = compare({key: samples}, MARGINS, **options)
    return change
