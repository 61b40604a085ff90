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
            assert calls.take(chosen, peer) is None
    deadlines = [deadline_ns for _, _, deadline_ns in expected.values() if deadline_ns]
    assert calls.next_deadline_ns() == min(deadlines, default=None)
    due = {number: entry for number, entry in expected.items() if 0 < entry[2] <= now_ns}
    assert calls.take_due(now_ns) == [(asked, waiter) for asked, waiter, _ in due.values()]
    left = {number: entry for number, entry in expected.items() if number not in due}
    for number, (asked, waiter, _) in list(left.items())[::2]:
        assert [calls.take(number, other) for other in "abc" if other != asked] == [None, None]
        assert calls.take(number, asked) == waiter
        assert calls.take(number, asked) is None
        del left[number]
    assert len(calls) == len(left)
    for other in "abc":
        assert calls.take_all(other) == [waiter for asked, waiter, _ in left.values() if asked == other]
    assert len(calls) == 0


def test_ids_are_never_used_again_after_a_call_was_closed():
    calls = OpenCalls()
    first = calls.open("a", "one")
    calls.close(first)
    assert calls.open("a", "two") != first
    assert first != 0, "0 means: no correlation"


def test_a_call_without_deadline_is_never_due():
    calls = OpenCalls()
    calls.open("a", "one")
    assert calls.take_due(10**18) == []
    assert calls.next_deadline_ns() is None


def test_who_waits_no_longer_is_forgotten():
    calls = OpenCalls()
    numbers = [calls.open("a", waiter) for waiter in ("one", "two", "three")]
    calls.forget(lambda waiter: waiter == "two")
    assert [calls.take(number, "a") for number in numbers] == ["one", None, "three"]
