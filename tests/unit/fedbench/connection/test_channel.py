import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbench.connection.channel import BusinessChannel, ControlChannel
from fedbench.errors import LocalProtocolError, Overloaded, RemoteProtocolError
from fedbench.messages import Kind, Message
from tests.fakes.connection import FakeConnection

A, B = "memory_client_1", "memory_server"


def message(kind=Kind.CLIENT_NOTIFY, seq=0, epoch=1):
    return Message(kind, A, B, seq=seq, epoch=epoch)


@given(st.lists(st.booleans(), max_size=30))
def test_accepted_messages_are_numbered_without_gaps(accepts):
    connection = FakeConnection(A, B, epoch=7)
    lane = BusinessChannel(connection)
    for accept in accepts:
        connection.refuse = None if accept else Overloaded("full")
        sending = message()
        if accept:
            lane.send(sending)
        else:
            with pytest.raises(Overloaded):
                lane.send(sending)
            assert sending.seq == 0
    assert [sent.seq for sent in connection.sent] == list(range(1, sum(accepts) + 1))
    assert {sent.epoch for sent in connection.sent} <= {7}


def test_a_refused_message_can_be_sent_again_and_an_accepted_one_cannot():
    connection = FakeConnection(A, B)
    lane, sending = BusinessChannel(connection), message()
    connection.refuse = Overloaded("full")
    with pytest.raises(Overloaded):
        lane.send(sending)
    connection.refuse = None
    lane.send(sending)
    with pytest.raises(LocalProtocolError, match="sent before: make a new message"):
        lane.send(sending)


def test_each_lane_takes_its_own_kinds_and_numbers_for_itself():
    connection = FakeConnection(A, B)
    business, control = BusinessChannel(connection), ControlChannel(connection)
    business.send(message())
    control.send(message(Kind.HEARTBEAT))
    business.send(message())
    assert [sent.seq for sent in connection.sent] == [1, 1, 2]
    with pytest.raises(LocalProtocolError, match="heartbeat does not travel on the business channel"):
        business.send(message(Kind.HEARTBEAT))
    with pytest.raises(LocalProtocolError, match="data does not travel on the control channel"):
        control.send(message(Kind.DATA))


def test_the_next_number_is_accepted_and_no_other():
    lane = BusinessChannel(FakeConnection(B, A, epoch=2))
    for number in (1, 2, 3):
        lane.accept(message(seq=number, epoch=2))
    for seq, epoch in ((3, 2), (5, 2), (4, 1), (4, 3)):
        with pytest.raises(RemoteProtocolError, match=rf"client_notify {epoch}\.{seq}, expected 2\.4"):
            lane.accept(message(seq=seq, epoch=epoch))
    lane.accept(message(seq=4, epoch=2))
