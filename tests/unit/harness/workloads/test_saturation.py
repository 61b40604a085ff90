from typing import Any

import pytest

from fedbench.errors import DeadlineExceeded
from harness.stacks.federation import FederationStack
from harness.stats.histogram import Histogram
from harness.workloads.saturation import Saturated, unanswered


class Late(FederationStack):
    """Answers so many calls, and then none in time."""

    def __init__(self, name: str, answered: int) -> None:
        super().__init__(name, "memory", {})
        self._left = answered

    async def ping(self, client: int, payload: Any, *, deadline_s: float) -> Any:
        self._left -= 1
        if self._left < 0:
            raise DeadlineExceeded("client_7 did not answer ping within 10.0 s")
        return payload


@pytest.mark.parametrize(
    ("answered", "told"),
    [(0, "none was answered before"), (1, "none was answered before"), (9, "8 were answered before")],
)
async def test_a_poller_that_answers_too_late_is_saturated_and_says_what_it_did(
    drive, answered, told
) -> None:
    with pytest.raises(Saturated, match=r"^polling is saturated: with 3 clients a call was not") as caught:
        await drive("rpc_ping", Late("polling", answered), clients=3, operations=100, warmup=1)
    assert "client_7 did not answer ping within 10.0 s" in str(caught.value)
    assert told in str(caught.value)


@pytest.mark.parametrize("answered", [0, 5])
async def test_push_that_answers_too_late_has_failed(drive, answered) -> None:
    with pytest.raises(DeadlineExceeded):
        await drive("rpc_ping", Late("push", answered), clients=3, operations=100, warmup=1)


def test_what_was_measured_is_told_and_not_measured() -> None:
    latency = Histogram()
    for _ in range(3):
        latency.record(12_000_000)
    error = unanswered(FederationStack("polling", "memory", {}), 200, latency, DeadlineExceeded("late"))
    assert "3 were answered before, half of them within 12" in str(error)
    assert str(error).endswith("Take fewer clients, or a longer poll_interval_s")
