import msgspec
import pytest

from harness.records.distributions import PERCENTILES, Distribution, distributions, percentiles_s
from harness.stats.histogram import Histogram
from tests.fakes.results import fake_observations


def histogram(count: int) -> Histogram:
    made = Histogram()
    for value_ns in range(1, count + 1):
        made.record(value_ns)
    return made


def test_the_blocks_of_a_cell_are_one_distribution():
    merged = distributions(fake_observations())
    ours = [o for o in fake_observations() if (o.arm, o.workload) == ("push", "rpc_ping")]
    found = merged[Distribution("rpc_ping", "push", "latency")]
    assert found.count == sum(o.histograms["latency"]["count"] for o in ours) > 0
    assert found.max_ns == max(o.histograms["latency"]["max_ns"] for o in ours)


def test_an_empty_histogram_is_no_distribution():
    empty = msgspec.structs.replace(fake_observations()[0], histograms={"latency": Histogram().to_dict()})
    assert distributions([empty]) == {}


@pytest.mark.parametrize("status", ["failed", "timeout", "unsupported"])
def test_a_cell_that_did_not_end_well_has_no_distribution(status):
    """Answers that were wrong may have come fast, or late."""
    good = msgspec.structs.replace(fake_observations()[0], histograms={"latency": histogram(3).to_dict()})
    bad = msgspec.structs.replace(
        good, block=2, status=status, histograms={"latency": histogram(9).to_dict()}
    )
    assert [found.count for found in distributions([good, bad]).values()] == [3]
    assert distributions([bad]) == {}


def test_a_damaged_histogram_is_refused():
    damaged = {**histogram(3).to_dict(), "count": 4}
    with pytest.raises(ValueError, match="contradict"):
        distributions([msgspec.structs.replace(fake_observations()[0], histograms={"latency": damaged})])


def test_percentiles_are_in_seconds_and_only_those_with_enough_beyond_them():
    assert percentiles_s(histogram(1000)) == {
        0.5: 500e-9,
        0.9: 900e-9,
        0.99: 990e-9,
        0.999: None,
        1.0: pytest.approx(1000e-9),
    }
    few = percentiles_s(histogram(49))
    assert [p for p in PERCENTILES if few[p] is None] == [0.9, 0.99, 0.999]
    assert percentiles_s(histogram(50))[0.9] == pytest.approx(45e-9)
