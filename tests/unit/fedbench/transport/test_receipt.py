import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbench.errors import ConnectionClosed, PeerLost, RemoteError
from fedbench.transport.receipt import Ledger, Outcome, Receipt

LOST = PeerLost("p", "killed")
BAD_ENDS = [Outcome.EXPIRED, Outcome.REJECTED, Outcome.SUPERSEDED, Outcome.LOST]
STEPS = st.sampled_from(["new", "ack", "apply", "fail", *BAD_ENDS])


@given(st.lists(st.tuples(STEPS, st.integers(0, 5))))
def test_the_ledger_balances_whatever_happens_in_whatever_order(steps):
    ledger = Ledger()
    receipts = [Receipt(ledger)]
    for step, index in steps:
        receipt = receipts[index % len(receipts)]
        before = receipt.outcome
        if step == "new":
            receipts.append(Receipt(ledger))
        elif step == "ack":
            receipt.ack()
        elif step in ("apply", "fail"):
            receipt.apply(None if step == "apply" else ValueError())
        else:
            receipt.end(step, LOST)
        assert ledger.balanced()
        assert before in (Outcome.IN_FLIGHT, receipt.outcome)  # an outcome is final
    counts = ledger.counts()
    assert counts["accepted"] == len(receipts)
    for outcome in Outcome:
        assert counts[outcome.value] == sum(receipt.outcome is outcome for receipt in receipts)


def test_an_unbalanced_ledger_is_seen():
    ledger = Ledger()
    ledger.accepted += 1
    assert not ledger.balanced()


@pytest.mark.parametrize("outcome", list(Outcome))
def test_only_a_rejected_receipt_is_falsy(outcome):
    receipt = Receipt(Ledger())
    if outcome is Outcome.ACKED:
        receipt.ack()
    elif outcome is not Outcome.IN_FLIGHT:
        receipt.end(outcome, LOST)
    assert bool(receipt) == (outcome is not Outcome.REJECTED)
    assert outcome.value in repr(receipt)


async def test_delivered_and_applied_awaited_before_the_fact():
    receipt = Receipt(Ledger())
    delivered, applied = receipt.delivered, receipt.applied
    receipt.ack()
    assert delivered.done()
    assert not applied.done()
    receipt.apply()
    await delivered
    await applied
    assert repr(receipt) == "<Receipt acked applied>"


async def test_delivered_and_applied_awaited_after_the_fact():
    receipt = Receipt(Ledger())
    receipt.ack()
    receipt.apply()
    await receipt.delivered
    await receipt.applied


async def test_a_failed_handler_was_delivered_all_the_same():
    receipt = Receipt(Ledger())
    early = receipt.applied
    receipt.ack()
    receipt.apply(RemoteError("n", "KeyError", "k"))
    receipt.apply()
    await receipt.delivered
    for applied in (early, receipt.applied):
        with pytest.raises(RemoteError):
            await applied


@pytest.mark.parametrize("outcome", BAD_ENDS)
async def test_a_bad_end_reaches_all_who_wait_and_all_who_come_later(outcome):
    ledger = Ledger()
    receipt = Receipt(ledger)
    early = [receipt.delivered, receipt.applied]
    receipt.end(outcome, LOST)
    receipt.ack()
    receipt.apply()
    assert receipt.outcome is outcome
    assert receipt.error is LOST
    assert ledger.awaited == set()
    for awaitable in (*early, receipt.delivered, receipt.applied):
        with pytest.raises(PeerLost):
            await awaitable


async def test_cancelling_one_who_waits_leaves_the_others():
    receipt = Receipt(Ledger())
    gone, stays = asyncio.ensure_future(receipt.applied), receipt.applied
    gone.cancel()
    receipt.ack()
    receipt.apply()
    await stays


async def test_the_end_of_a_ledger_ends_what_is_awaited_now_or_later():
    ledger = Ledger()
    now, later, done = Receipt(ledger), Receipt(ledger), Receipt(ledger)
    for receipt in (now, later, done):
        receipt.ack()
    done.apply()
    waiting = now.applied
    assert ledger.awaited == {now}
    ledger.end(ConnectionClosed("over"))
    for awaitable in (waiting, now.applied, later.applied):
        with pytest.raises(ConnectionClosed):
            await awaitable
    await done.applied
    assert ledger.awaited == set()
    assert ledger.balanced()


def test_what_runs_counts_until_it_is_finished():
    ledger = Ledger()
    first, second = Receipt(ledger, Outcome.ACKED), Receipt(ledger, Outcome.ACKED)
    first.begin(300)
    second.begin(400)
    assert (ledger.running, ledger.running_bytes) == (2, 700)
    first.finish()
    assert (ledger.running, ledger.running_bytes) == (1, 400)
    second.finish()
    assert (ledger.running, ledger.running_bytes) == (0, 0)


def test_watchers_are_told_once_of_the_application_whenever_they_come():
    for fact in (Receipt.settle, lambda r: (r.ack(), r.apply())):
        receipt, told = Receipt(Ledger()), []
        receipt.on_applied(told.append)
        assert told == []
        fact(receipt)
        fact(receipt)
        receipt.on_applied(told.append)
        assert told == [None, None]


def test_watchers_are_told_why_it_will_not_be_applied():
    ledger, told = Ledger(), []
    failed, lost, taken = Receipt(ledger), Receipt(ledger), Receipt(ledger)
    for receipt in (failed, lost, taken):
        receipt.on_applied(told.append)
    error = RemoteError("n", "KeyError", "k")
    failed.ack()
    failed.apply(error)
    lost.end(Outcome.LOST, LOST)
    taken.ack()
    over = ConnectionClosed("closed")
    ledger.end(over)
    late = Receipt(ledger)
    late.on_applied(told.append)
    assert told == [error, LOST, over, over]
    assert not ledger.awaited


def test_a_settled_receipt_gives_back_what_its_handlers_held():
    ledger = Ledger()
    receipt = Receipt(ledger)
    receipt.begin(100)
    receipt.settle()
    receipt.settle()
    assert (ledger.running, ledger.running_bytes, ledger.acked, ledger.in_flight) == (0, 0, 1, 0)
    assert receipt.handled
