import heapq

from hypothesis import given
from hypothesis import strategies as st

from fedbench.rpc.correlation import Deadlines, OpenCalls

PEERS = st.sampled_from(["a", "b", "c"])


@given(st.lists(st.tuples(PEERS, st.booleans(), st.integers(0, 50)), max_size=60))
def test_open_calls_behave_as_a_plain_dict(steps):
    calls, expected = OpenCalls(), {}
    for n, (peer, opens, pick) in enumerate(steps):
        if opens or not expected:
            correlation_id = calls.open(peer, n)
            assert correlation_id > max(expected, default=0)
            expected[correlation_id] = (peer, n)
        else:
            chosen = sorted(expected)[pick % len(expected)]
            del expected[chosen]
            calls.close(chosen)
            calls.close(chosen)
            assert calls.match(chosen, peer) is None
        assert len(calls) == len(expected)
        for correlation_id, (asked, waiter) in expected.items():
            for other in "abc":
                assert calls.match(correlation_id, other) == (waiter if other == asked else None)
        for other in "abc":
            assert calls.waiting_for(other) == [w for _, (asked, w) in sorted(expected.items()) if asked == other]


def test_ids_are_never_used_again_after_a_call_was_closed():
    calls = OpenCalls()
    first = calls.open("a", "one")
    calls.close(first)
    assert calls.open("a", "two") != first
    assert first != 0, "0 means: no correlation"


ADD = st.tuples(st.just("add"), st.integers(0, 1000))
DISCARD = st.tuples(st.just("discard"), st.integers(0, 10_000))
POP = st.tuples(st.just("pop"), st.integers(0, 1000))
NEXT = st.tuples(st.just("next"), st.just(0))


def bounded(deadlines):
    return len(deadlines._heap) <= 2 * len(deadlines) + 64


@given(st.lists(st.one_of(ADD, ADD, DISCARD, POP, NEXT), max_size=300))
def test_deadlines_come_due_in_order_and_only_if_pending(steps):
    deadlines, pending, added = Deadlines(), {}, []
    for kind, number in steps:
        if kind == "add":
            marker = len(added)
            token = deadlines.add(number, lambda marker=marker: marker)
            added.append(token)
            pending[token] = (number, marker)
        elif kind == "discard" and added:
            token = added[number % len(added)]
            deadlines.discard(token)
            pending.pop(token, None)
        elif kind == "pop":
            due = sorted(entry for entry in pending.items() if entry[1][0] <= number)
            due.sort(key=lambda entry: (entry[1][0], entry[0]))
            assert [callback() for callback in deadlines.pop_due(number)] == [entry[1][1] for entry in due]
            for token, _ in due:
                del pending[token]
        assert deadlines.next_ns() == min((ns for ns, _ in pending.values()), default=None)
        assert len(deadlines) == len(pending)
        assert bounded(deadlines)


@given(st.integers(0, 400), st.integers(0, 400), st.integers(0, 400))
def test_the_heap_stays_bounded_however_deadlines_end(due, met, later):
    deadlines = Deadlines()
    deadlines.add(0, int)  # the earliest stays pending, so no leading entry can be dropped
    for _ in range(due):
        deadlines.add(1, int)
    tokens = [deadlines.add(2, int) for _ in range(met)]
    for _ in range(later):
        deadlines.add(3, int)
    for token in tokens:
        deadlines.discard(token)
        assert bounded(deadlines)
    assert len(deadlines.pop_due(1)) == due + 1
    assert bounded(deadlines)
    assert sorted(deadlines._heap) == [heapq.heappop(deadlines._heap) for _ in range(len(deadlines._heap))]


def test_met_deadlines_hold_no_memory():
    deadlines = Deadlines()
    deadlines.add(0, int)
    for _ in range(5000):
        deadlines.discard(deadlines.add(10**18, int))
    assert len(deadlines) == 1
    assert len(deadlines._heap) <= 66


def test_popping_leaves_no_heap_of_met_deadlines_behind():
    deadlines = Deadlines()
    tokens = [deadlines.add(9, int) for _ in range(100)]
    for _ in range(100):
        deadlines.add(1, int)
    for token in tokens:
        deadlines.discard(token)
    assert len(deadlines.pop_due(1)) == 100
    assert len(deadlines._heap) <= 64
