from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbench.errors import ConnectionBroken, RemoteError, RemoteProtocolError
from fedbench.transport.network.reports import (
    MAX_TEXT_BYTES,
    Entry,
    Failure,
    Sent,
    Taken,
    TakenMessage,
    decode_news,
    encode_news,
)
from fedbench.transport.network.session import Lane
from fedbench.transport.receipt import Ledger, Outcome, Receipt

BUSINESS, CONTROL = Lane.BUSINESS, Lane.CONTROL
BOOM = RemoteError("node", "KeyError", "boom", "Traceback")


def test_totals_stop_at_what_still_runs():
    taken = Taken()
    taken.take(BUSINESS, 1, applied=True)
    taken.take(BUSINESS, 2, applied=False)
    taken.take(BUSINESS, 3, applied=True)
    assert (taken.applied((5, 0, 3)), taken.news()) == ((5, 1), ())
    taken.finish(BUSINESS, 2)
    assert (taken.applied((0, 0, 3)), taken.news()) == ((0, 3), ())


def test_what_ends_out_of_order_is_news():
    taken = Taken()
    for number in (1, 2):
        taken.take(BUSINESS, number, applied=False)
    taken.finish(BUSINESS, 2)
    assert taken.news() == (Entry(BUSINESS, 2, None),)
    taken.sent(taken.news())
    assert (taken.news(), taken.applied((0, 0, 2))) == ((), (0, 0))
    taken.finish(BUSINESS, 1)
    assert taken.applied((0, 0, 2)) == (0, 2)


def test_a_failure_holds_the_total_back_until_its_news_are_acknowledged():
    taken = Taken()
    taken.take(BUSINESS, 1, applied=True, error=BOOM)
    taken.take(BUSINESS, 2, applied=False)
    taken.finish(BUSINESS, 2, BOOM)
    assert taken.applied((0, 0, 2)) == (0, 0)
    news = taken.news()
    assert [entry.failure.type_name for entry in news] == ["KeyError", "KeyError"]
    taken.sent(news)
    taken.told(news)
    assert taken.applied((0, 0, 2)) == (0, 2)


def test_news_come_in_pieces_that_fit_and_their_texts_are_cut():
    taken = Taken()
    long = RemoteError("node", "E" * 2000, "ü" * 2000, "first" + "t" * 2000 + "last")
    for number in range(1, 12):
        taken.take(BUSINESS, number, applied=True, error=long)
    news = taken.news()
    assert 1 < len(news) < 11
    assert len(encode_news(news)) < 32 << 10
    failure = news[0].failure
    assert failure.traceback_text.endswith("last")
    assert all(len(text.encode()) <= MAX_TEXT_BYTES for text in (failure.type_name, failure.message))
    assert decode_news(encode_news(news)) == news


@given(st.binary(max_size=40))
def test_anything_that_is_no_news_is_refused_by_name(data):
    if data != b"\x90":
        with pytest.raises(RemoteProtocolError):
            decode_news(data)


def sent_with(count):
    sent, ledger = Sent("peer"), Ledger()
    receipts = [Receipt(ledger) for _ in range(count)]
    for receipt in receipts:
        sent.take(BUSINESS, receipt, 0)
    return sent, receipts, ledger


async def test_what_was_taken_is_acknowledged_and_what_was_applied_is_settled():
    sent, (first, second), ledger = sent_with(2)
    assert [first.outcome, second.outcome] == [Outcome.ACKED] * 2
    sent.applied(0, 1)
    await first.applied
    assert not second.handled
    sent.heard((Entry(BUSINESS, 2, Failure("KeyError", "boom", "tb")),))
    with pytest.raises(RemoteError, match="peer raised KeyError: boom"):
        await second.applied
    sent.applied(0, 2)
    assert ledger.balanced()


def test_a_success_that_a_total_has_told_first_is_no_error():
    sent, _, _ = sent_with(2)
    sent.applied(0, 2)
    sent.heard((Entry(BUSINESS, 2, None),))


@pytest.mark.parametrize(
    "entry",
    [
        Entry(BUSINESS, 3, None),
        Entry(BUSINESS, 0, None),
        Entry(BUSINESS, 1, Failure("E", "", "")),
        Entry(CONTROL, 1, None),
        Entry(Lane.NEWS, 1, None),
    ],
)
def test_news_of_what_was_not_running_are_refused(entry):
    sent, _, _ = sent_with(2)
    sent.applied(0, 1)
    with pytest.raises(RemoteProtocolError, match="was not running"):
        sent.heard((entry,))


def test_totals_beyond_what_was_taken_are_refused():
    sent, _, _ = sent_with(1)
    with pytest.raises(
        RemoteProtocolError, match="2 BUSINESS messages are reported as applied, 1 were taken"
    ):
        sent.applied(0, 2)
    with pytest.raises(RemoteProtocolError, match="CONTROL"):
        sent.applied(1, 1)


def test_data_is_counted_until_somebody_has_received_it():
    sent = Sent("peer")
    assert sent.consumed(-2)  # two lay there before
    assert sent.data == (2, 0)
    sent.add_data(100)
    assert not sent.consumed(-2)
    assert sent.consumed(0)
    assert sent.data == (1, 100)
    assert sent.consumed(1)
    assert sent.data == (0, 0)
    with pytest.raises(RemoteProtocolError, match="1 messages are reported as received, 0 wait"):
        sent.consumed(2)


def test_received_totals_do_not_shrink():
    sent = Sent("peer")
    sent.add_data(1)
    with pytest.raises(RemoteProtocolError, match="fewer than before"):
        sent.consumed(-1)


def test_what_is_not_acknowledged_is_lost():
    sent, _, ledger = sent_with(1)
    receipt = Receipt(ledger)
    sent.lose([receipt], ConnectionBroken("over"))
    assert receipt.outcome is Outcome.LOST
    assert ledger.balanced()


def test_only_the_first_report_of_a_message_counts():
    taken, told = Taken(), []
    message = TakenMessage("node", taken, lambda: told.append(1))
    message.begin(1)
    message.taken(BUSINESS, 1)
    message.apply(ValueError("odd"))
    message.apply()
    message.finish()
    (entry,) = taken.news()
    assert (entry.number, entry.failure.type_name, told) == (1, "ValueError", [1])
