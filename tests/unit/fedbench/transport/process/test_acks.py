"""Acknowledgements: both sides agree on what was taken and applied, whatever is told when."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbench.codec.frames import MAX_PAYLOAD_BYTES
from fedbench.errors import PeerLost, RemoteError, RemoteProtocolError
from fedbench.transport.process.acks import (
    Failure,
    Notes,
    Outstanding,
    Taken,
    decode_notes,
    encode_notes,
)
from fedbench.transport.receipt import Ledger, Outcome, Receipt


def tell_all(taken: Taken, outstanding: Outstanding, leases: list[int]) -> list[Notes]:
    told = []
    while taken.pending:
        notes, acknowledged = taken.notes()
        payload = encode_notes(notes)
        assert len(payload) <= MAX_PAYLOAD_BYTES
        lease = taken.released[0] if taken.released else 0
        leases.extend([lease] if lease else [])
        leases.extend(notes.released)
        taken.tell(acknowledged, lease, notes)
        outstanding.acknowledge(acknowledged, decode_notes(payload))
        told.append(notes)
    return told


def send(outstanding: Outstanding, ledger: Ledger, count: int) -> list[Receipt]:
    receipts = [Receipt(ledger) for _ in range(count)]
    for receipt in receipts:
        receipt.begin(10)
        outstanding.add(receipt)
    return receipts


STEPS = st.lists(st.sampled_from(["take", "start", "fail", "finish", "error", "tell", "one"]), max_size=60)


@given(STEPS)
def test_the_sender_learns_what_became_of_every_message(steps):
    taken, outstanding, ledger = Taken(), Outstanding("peer"), Ledger()
    receipts = send(outstanding, ledger, 60)
    expected: dict[int, bool | None] = {}
    running: list[int] = []
    for step in steps:
        if step in ("take", "start", "fail"):
            error = RemoteError("peer", "E", "why") if step == "fail" else None
            number = taken.take(applied=step != "start", error=error)
            expected[number] = None if step == "start" else step == "take"
            if step == "start":
                running.append(number)
        elif step in ("finish", "error") and running:
            number = running.pop(0)
            taken.finish(number, RemoteError("peer", "E", "why") if step == "error" else None)
            expected[number] = step == "finish"
        elif step == "tell":
            tell_all(taken, outstanding, [])
        elif step == "one" and taken.noted:
            notes, acknowledged = taken.notes()
            taken.tell(acknowledged, 0, notes)
            outstanding.acknowledge(acknowledged, notes)
        assert ledger.balanced()
    tell_all(taken, outstanding, [])
    for number, receipt in enumerate(receipts, 1):
        assert (receipt.outcome is Outcome.ACKED) == (number in expected)
        assert receipt.handled == (expected.get(number) is not None)
        assert (receipt._handler_error is None) == (expected.get(number) is not False)
    assert ledger.running == 60 - sum(value is not None for value in expected.values())
    assert not taken.pending


def test_notes_of_any_number_and_length_fit_into_frames():
    taken, outstanding, ledger = Taken(), Outstanding("peer"), Ledger()
    receipts = send(outstanding, ledger, 500)
    for number in range(1, 501):
        taken.take(applied=number % 3 != 0)
    for number in range(3, 501, 3):
        taken.finish(number, RemoteError("peer", "E" * 5000, "ü" * 5000, "trace" * 5000))
    taken.release(range(2**63, 2**63 + 400))
    leases: list[int] = []
    tell_all(taken, outstanding, leases)
    assert leases == list(range(2**63, 2**63 + 400))
    assert sum(receipt._handler_error is not None for receipt in receipts) == 166
    failure = receipts[2]._handler_error
    assert (failure.node_id, failure.traceback_text[-5:]) == ("peer", "trace")
    assert ledger.running == 0


def test_one_that_ends_before_it_was_told_to_run_needs_no_note():
    taken = Taken()
    taken.finish(taken.take(applied=False))
    assert not taken.noted
    assert taken.pending


def test_received_data_makes_room_and_what_waited_before_takes_it():
    outstanding, ledger = Outstanding("peer"), Ledger()
    outstanding.acknowledge(0, Notes(consumed=-1))
    for nbytes in (10, 20):
        outstanding.add(Receipt(ledger))
        outstanding.add_data(nbytes)
    assert outstanding.data == (3, 30)
    outstanding.acknowledge(2, Notes(consumed=2))
    assert outstanding.data == (1, 20)
    with pytest.raises(RemoteProtocolError, match="2 messages are reported as received, 1 wait"):
        outstanding.acknowledge(2, Notes(consumed=2))


def test_what_is_not_acknowledged_is_lost():
    outstanding, ledger = Outstanding("peer"), Ledger()
    receipts = send(outstanding, ledger, 3)
    outstanding.acknowledge(1)
    outstanding.lose(PeerLost("peer", "gone"))
    assert [receipt.outcome for receipt in receipts] == [Outcome.ACKED, Outcome.LOST, Outcome.LOST]
    assert ledger.balanced()


@pytest.mark.parametrize(
    ("count", "notes", "named"),
    [
        (3, None, "3 messages are acknowledged, 2 were sent"),
        (2**64 - 1, None, "acknowledged"),
        (1, Notes(finished=[(9, None)]), "message 9 is reported as applied"),
        (1, Notes(finished=[(2, Failure("E", "", ""))]), "message 2 is reported"),
    ],
)
def test_acknowledging_what_was_not_sent_is_refused(count, notes, named):
    outstanding, ledger = Outstanding("peer"), Ledger()
    send(outstanding, ledger, 2)
    with pytest.raises(RemoteProtocolError, match=named):
        outstanding.acknowledge(count, notes)
    assert ledger.balanced()


@given(st.binary(max_size=100))
def test_any_bytes_are_notes_or_refused_by_name(payload):
    with contextlib.suppress(RemoteProtocolError):
        decode_notes(payload)
