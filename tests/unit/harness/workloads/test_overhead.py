import asyncio

import pytest

from harness.records.derive import Sampled, derive
from harness.stacks.federation import FederationStack
from harness.workloads.registry import create_workload

pytestmark = pytest.mark.slow
SMALL = {"clients": 2, "pairs": 4, "slice_s": 0.02, "warmup": 4}


async def test_the_probes_watch_every_other_slice(drive, session) -> None:
    outcome = await drive("probe_overhead", FederationStack("push", "memory", {}), **SMALL)
    assert session.asked == [("begin", True), "end"] * 4
    assert outcome.wrong == []
    assert outcome.values.keys() == {"probe_latency_ratio", "probe_mean_ratio"}
    metrics = derive(Sampled(elapsed_s=1.0, probe_cpu_s=0.1, probe_s=10.0), outcome)
    assert metrics["probe_cpu_cores"] == 0.01
    assert metrics["cpu_cores"] is None  # the window holds slices, not operations
    assert outcome.missing["cpu_cores"].startswith("its windows are slices")


async def test_probes_that_slow_the_calls_down_are_found(drive, session, monkeypatch) -> None:
    """With a probe that costs each call 1 ms while it watches, the ratio says so."""
    stack = FederationStack("push", "memory", {})
    ping = stack.ping

    async def slow(*arguments, **options):
        if session.asked and session.asked[-1] != "end":
            await asyncio.sleep(0.001)
        return await ping(*arguments, **options)

    monkeypatch.setattr(stack, "ping", slow)
    outcome = await drive("probe_overhead", stack, **SMALL)
    assert outcome.values["probe_latency_ratio"] > 3
    assert outcome.values["probe_mean_ratio"] > 3


async def test_probes_that_hold_up_a_few_calls_are_found_by_the_mean(drive, session, monkeypatch) -> None:
    """With a probe that holds up one call in 50, no median moves."""
    stack = FederationStack("push", "memory", {})
    ping = stack.ping
    calls = 0

    async def held_up(*arguments, **options):
        nonlocal calls
        calls += 1
        if calls % 50 == 0 and session.asked and session.asked[-1] != "end":
            await asyncio.sleep(0.01)  # what the probe holds it up by
        return await ping(*arguments, **options)

    monkeypatch.setattr(stack, "ping", held_up)
    outcome = await drive("probe_overhead", stack, **SMALL | {"slice_s": 0.05})
    assert outcome.values["probe_latency_ratio"] < 1.5 < outcome.values["probe_mean_ratio"]


async def test_a_wrong_answer_fails_it(drive, monkeypatch) -> None:
    stack = FederationStack("push", "memory", {})
    ping = stack.ping

    async def wrong(client, payload, *, deadline_s):
        answer = await ping(client, payload, deadline_s=deadline_s)
        return answer if payload == b"warm" else b"wrong"

    monkeypatch.setattr(stack, "ping", wrong)
    outcome = await drive("probe_overhead", stack, **SMALL)
    assert outcome.wrong[0] == "ping 0 was answered with b'wrong'"


def test_it_takes_as_long_as_its_slices() -> None:
    assert create_workload("probe_overhead", {"pairs": 3, "slice_s": 2.0}).expected_s(
        poll_s=0.0
    ) == pytest.approx(12.0, abs=0.1)


async def test_a_payload_that_cannot_tell_calls_apart_is_refused(tapped, drive) -> None:
    stack = tapped()
    with pytest.raises(ValueError, match="payload_bytes is 7: at least 8 tell the calls apart"):
        await drive("probe_overhead", stack, payload_bytes=7)
    assert stack.stops == 0
