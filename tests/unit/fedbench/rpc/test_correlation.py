from hypothesis import given
from hypothesis import strategies as st

from fedbench.rpc.correlation import OpenCalls

PEERS = st.sampled_from(["a", "b", "c"])
STEPS = st.lists(st.tuples(PEERS, st.booleans(), st.integers(0, 50), st.integers(0, 20)), max_size=60)


@given(STEPS, st.integers(0, 20))
def test_open_calls_behave_as_a_plain_dict(steps, now_ns):
    calls, expected = OpenCalls(), {}
    for n, (peer, opens, pick, deadline_ns) in enumerate(steps):
        if opens or not expected:
            correlation_id = calls.open(peer, n, deadline_ns)
            assert correlation_id > max(expected, default=0)
            expected[correlation_id] = (peer, n, deadline_ns)
        else:
            chosen = sorted(expected)[pick % len(expected)]
            del expected[chosen]
            calls.close(chosen)
            calls.close(chosen)
            assert calls.match(chosen, peer) is None
    assert len(calls) == len(expected)
    for correlation_id, (asked, waiter, _) in expected.items():
        for other in "abc":
            assert calls.match(correlation_id, other) == (waiter if other == asked else None)
    for other in "abc":
        waiters = [waiter for asked, waiter, _ in expected.values() if asked == other]
        assert calls.waiting_for(other) == waiters
    assert calls.due(now_ns) == [w for _, w, deadline_ns in expected.values() if 0 < deadline_ns <= now_ns]
    later = [deadline_ns for _, _, deadline_ns in expected.values() if deadline_ns > now_ns]
    assert calls.next_deadline_ns(now_ns) == min(later, default=None)


def test_ids_are_never_used_again_after_a_call_was_closed():
    calls = OpenCalls()
    first = calls.open("a", "one")
    calls.close(first)
    assert calls.open("a", "two") != first
    assert first != 0, "0 means: no correlation"


def test_a_call_without_deadline_is_never_due():
    calls = OpenCalls()
    calls.open("a", "one")
    assert calls.due(10**18) == []
    assert calls.next_deadline_ns(0) is None
