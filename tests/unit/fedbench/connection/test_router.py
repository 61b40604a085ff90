import logging

import pytest

from fedbench.connection.pool import ConnectionPool
from fedbench.connection.router import Router
from fedbench.errors import Overloaded, RemoteProtocolError, RoutingError
from fedbench.messages import Kind, Message
from tests.fakes.connection import FakeConnection

A, B = "memory_client_1", "memory_server"


@pytest.fixture
def parts():
    pool = ConnectionPool()
    router = Router(A, pool)
    link = router.link(FakeConnection(A, B))
    pool.add(link)
    return router, link


def message(kind=Kind.CLIENT_NOTIFY, source=A, target=B, seq=0):
    return Message(kind, source, target, seq=seq)


def test_messages_take_the_lane_of_their_kind(parts):
    router, link = parts
    for kind in (Kind.CLIENT_NOTIFY, Kind.HEARTBEAT, Kind.DATA):
        router.send(message(kind))
    assert [(sent.kind, sent.seq) for sent in link.connection.sent] == [
        (Kind.CLIENT_NOTIFY, 1),
        (Kind.HEARTBEAT, 1),
        (Kind.DATA, 2),
    ]


@pytest.mark.parametrize(
    ("source", "target"), [("memory_client_2", B), (B, A), (A, "memory_client_2"), (A, "nobody")]
)
def test_refusals_are_warnings_that_name_both_ends(parts, caplog, source, target):
    router, link = parts
    with pytest.raises(RoutingError) as refusal:
        router.send(message(source=source, target=target))
    assert (refusal.value.source, refusal.value.target) == (source, target)
    (record,) = caplog.records
    assert (record.levelno, record.name) == (logging.WARNING, "fedbench.connection")
    assert source in record.getMessage()
    assert target in record.getMessage()
    assert link.connection.sent == []
    assert router.counts() == {}


def test_counts_are_by_route_and_kind_in_both_directions(parts):
    router, link = parts
    for kind in (Kind.RPC_REQUEST, Kind.RPC_REQUEST, Kind.HEARTBEAT):
        router.send(message(kind))
    router.received(link, message(Kind.RPC_RESPONSE, B, A, seq=1))
    assert router.counts() == {
        f"{A}->{B}": {"rpc_request": 2, "heartbeat": 1},
        f"{B}->{A}": {"rpc_response": 1},
    }


def test_what_the_connection_refuses_or_arrives_out_of_order_is_not_counted(parts):
    router, link = parts
    link.connection.refuse = Overloaded("full")
    with pytest.raises(Overloaded):
        router.send(message())
    with pytest.raises(RemoteProtocolError):
        router.received(link, message(source=B, target=A, seq=2))
    assert router.counts() == {}


def test_routes_are_logged_at_debug_only(parts, caplog):
    router, _ = parts
    caplog.set_level(logging.INFO)
    router.send(message())
    assert caplog.records == []
    caplog.set_level(logging.DEBUG)
    router.send(message())
    assert caplog.records == [], "a connection asks once"
    pool = ConnectionPool()
    router = Router(A, pool)
    pool.add(router.link(FakeConnection(A, B, 1)))
    router.send(message())
    assert caplog.messages == [f"client_notify {A} -> {B} #1"]


def test_a_message_of_the_transports_own_verbs_has_no_number(parts):
    router, link = parts
    for seq in (0, 1, 0, 2):
        router.received(link, message(source=B, target=A, seq=seq))
    assert router.counts() == {f"{B}->{A}": {"client_notify": 4}}


def test_counts_go_on_over_a_new_connection(parts):
    router, link = parts
    router.received(link, message(source=B, target=A))
    again = router.link(FakeConnection(A, B, 2))
    router.received(again, message(source=B, target=A))
    assert router.counts() == {f"{B}->{A}": {"client_notify": 2}}


def test_a_lossless_medium_needs_no_numbers():
    class Lossless(FakeConnection):
        lossless = True

    pool = ConnectionPool()
    router = Router(A, pool)
    link = router.link(Lossless(A, B))
    pool.add(link)
    for _ in range(2):
        router.send(message())
    assert [sent.seq for sent in link.connection.sent] == [0, 0]
    assert router.counts() == {f"{A}->{B}": {"client_notify": 2}}
