import pytest

from harness.records.metrics import METRICS

UNITS = {
    "_bytes_per_s": "B/s",
    "_cores": "cores",
    "_hops": "hops",
    "_ratio": "times",
    "_share": "share",
    "_messages": "messages",
    "_bytes_per_min": "B/min",
    "_per_min": "1/min",
    "_s_per_op": "s/op",
    "_bytes_per_round": "B/round",
    "_copies": "models",
    "_bytes": "B",
    "ops_per_s": "op/s",
    "_per_s": "1/s",
    "_per_op": "1/op",
    "_refs": "refs",
    "_s": "s",
    "accuracy": "share",
    "faults_reported": "faults",
    "clients": "",
}
"""How a name ends, and the unit that goes with it; the first that fits counts."""


@pytest.mark.parametrize("name", METRICS)
def test_a_name_carries_its_unit(name: str) -> None:
    assert METRICS[name].unit == next(unit for end, unit in UNITS.items() if name.endswith(end))


@pytest.mark.parametrize("name", METRICS)
def test_what_costs_is_better_lower(name: str) -> None:
    gains = {"accuracy", "faults_reported", "clients", "knee_share", "goodput_retention_share"}
    gains |= {name for name in METRICS if name.endswith(("ops_per_s", "payload_bytes_per_s"))}
    assert METRICS[name].direction == ("higher" if name in gains else "lower")


def test_no_two_metrics_have_one_title() -> None:
    titles = [metric.title for metric in METRICS.values()]
    assert len(set(titles)) == len(titles)
    assert all(titles)
