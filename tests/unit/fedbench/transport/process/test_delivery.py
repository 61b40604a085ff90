"""Taken messages: told as running only if their handlers run on."""

from __future__ import annotations

from fedbench.errors import RemoteError
from fedbench.transport.process.acks import Failure, Taken
from fedbench.transport.process.delivery import TakenMessage


def made():
    taken, finished = Taken(), []
    return taken, finished, TakenMessage("node", taken, lambda: finished.append(1))


def test_one_that_is_applied_at_once_needs_no_note():
    taken, finished, message = made()
    message.apply()
    message.apply(ValueError("too late"))
    message.taken()
    assert not taken.noted
    assert (taken.count, finished) == (1, [])


def test_one_that_runs_on_is_told_so_and_then_its_end():
    taken, finished, message = made()
    message.begin(10)
    message.taken()
    notes, acknowledged = taken.notes()
    assert (notes.running, acknowledged) == ([1], 1)
    taken.tell(acknowledged, 0, notes)
    message.finish()
    message.apply(ValueError("why"))
    assert finished == [1]
    assert taken.notes()[0].finished == [(1, Failure("ValueError", "why", ""))]


def test_a_remote_error_is_told_as_it_is():
    taken, _, message = made()
    message.apply(RemoteError("node", "E", "m", "trace"))
    message.taken()
    assert taken.notes()[0].finished == [(1, Failure("E", "m", "trace"))]
