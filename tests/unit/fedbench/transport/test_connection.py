import logging

import pytest

from fedbench.errors import ConnectionClosed, PeerLost, RoutingError
from fedbench.ids import current_node
from fedbench.messages import Kind, Message
from fedbench.transport.connection import Connection
from fedbench.transport.receipt import Outcome
from tests.fakes.connection import FakeConnection

A, B = "memory_client_1", "memory_server"


def message(source=A, target=B):
    return Message(Kind.CLIENT_NOTIFY, source, target, "event")


def test_a_connection_promises_nothing_by_default():
    assert not Connection.lossless
    assert not Connection.reports_death


def test_repr_shows_both_ends_and_the_state():
    connection = FakeConnection(A, B, 3)
    assert repr(connection) == f"<FakeConnection {A} -> {B} epoch 3 open>"
    connection.close()
    assert repr(connection).endswith(f"closed: {A} closed its connection to {B}>")


def test_callbacks_run_once_in_order_as_the_node():
    connection, seen = FakeConnection(A, B), []
    connection.on_closed(lambda end, reason: seen.append((1, end, current_node.get())))
    connection.on_closed(lambda end, reason: seen.append((2, type(reason), current_node.get())))
    connection.close()
    connection.close()
    connection.abort()
    assert seen == [(1, connection, A), (2, ConnectionClosed, A)]


def test_closing_ends_what_is_in_flight():
    connection = FakeConnection(A, B)
    receipt = connection.send(message())
    assert receipt.outcome is Outcome.IN_FLIGHT
    connection.close()
    assert receipt.outcome is Outcome.LOST
    assert connection.ledger.balanced()


async def test_what_is_applied_late_is_told_the_end():
    near, far = FakeConnection.pair(A, B)
    receipt = near.send(message())
    receipt.ack()
    far.abort("killed")
    with pytest.raises(PeerLost):
        await receipt.applied


@pytest.mark.parametrize(("source", "target"), [(B, B), (A, A), (B, A)])
def test_foreign_messages_are_refused_with_a_warning(caplog, source, target):
    connection = FakeConnection(A, B)
    with pytest.raises(RoutingError):
        connection.send(message(source, target))
    assert connection.sent == []
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


async def test_a_receiver_that_raises_stays_on_its_side(caplog):
    near, far = FakeConnection.pair(A, B)

    def refuse(inbound, delivery):
        raise ValueError("no")

    far.receiver = refuse
    receipt = near.send(message())
    with pytest.raises(Exception, match=f"{B} raised ValueError: no"):
        await receipt.applied
    assert caplog.messages == [f"{B} could not take client_notify from {A}"]
    assert current_node.get() == ""


async def test_without_a_receiver_the_sender_is_told(caplog):
    near, far = FakeConnection.pair(A, B)
    receipt = near.send(message())
    receipt.ack()
    far._hand_over(message(), receipt)
    with pytest.raises(Exception, match=f"nobody receives for {B}"):
        await receipt.applied
    assert len(caplog.records) == 1
