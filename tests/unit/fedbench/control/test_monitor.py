import logging

import pytest

from fedbench.control.monitor import Monitor, Peer, PeerEvent, PeerState, step
from fedbench.errors import ConnectionBroken, LocalProtocolError, PeerLost

U, C, R, D = PeerState.UNKNOWN, PeerState.CONNECTED, PeerState.REGISTERED, PeerState.DISCONNECTED
TABLE = {
    (U, PeerEvent.CONNECT): C,
    (U, PeerEvent.REGISTER): None,
    (U, PeerEvent.UNREGISTER): None,
    (U, PeerEvent.DISCONNECT): None,
    (C, PeerEvent.CONNECT): C,
    (C, PeerEvent.REGISTER): R,
    (C, PeerEvent.UNREGISTER): None,
    (C, PeerEvent.DISCONNECT): D,
    (R, PeerEvent.CONNECT): C,
    (R, PeerEvent.REGISTER): R,
    (R, PeerEvent.UNREGISTER): C,
    (R, PeerEvent.DISCONNECT): D,
    (D, PeerEvent.CONNECT): C,
    (D, PeerEvent.REGISTER): None,
    (D, PeerEvent.UNREGISTER): None,
    (D, PeerEvent.DISCONNECT): None,
}


def test_the_table_is_whole():
    assert len(TABLE) == len(PeerState) * len(PeerEvent)


@pytest.mark.parametrize(("state", "event"), TABLE, ids=lambda part: part.value)
def test_every_step(state, event):
    if TABLE[state, event] is None:
        with pytest.raises(LocalProtocolError, match=f"a peer that is {state.value} cannot {event.value}"):
            step(state, event)
    else:
        assert step(state, event) is TABLE[state, event]


def listened():
    monitor, heard = Monitor(), []
    for name in ("connect", "disconnect", "reconnect"):
        getattr(monitor, f"on_{name}")(
            lambda peer_id, name=name: heard.append((name, monitor.peers[peer_id].state))
        )
    return monitor, heard


def test_the_reason_why_a_peer_was_lost_does_not_name_it_again():
    monitor, _ = listened()
    monitor.connected("a", 1, 100)
    monitor.disconnected("a", PeerLost("a", "no link for 60 s"))
    assert monitor.peers["a"].reason == "no link for 60 s"
    assert str(monitor.peers["a"].error) == "lost a: no link for 60 s"


def test_the_life_of_a_peer():
    monitor, heard = listened()
    monitor.connected("a", 1, 100)
    monitor.registered("a", yes=True)
    monitor.seen("a", 150)
    assert monitor.peers["a"] == Peer(R, 1, 150, "")
    error = ConnectionBroken("killed")
    monitor.disconnected("a", error)
    assert monitor.peers["a"] == Peer(D, 1, 150, "killed", error)
    monitor.connected("a", 2, 200)
    assert monitor.peers["a"] == Peer(C, 2, 200, "")
    assert heard == [("connect", C), ("disconnect", D), ("reconnect", C)]


def test_what_cannot_happen_changes_nothing():
    monitor, heard = listened()
    with pytest.raises(LocalProtocolError):
        monitor.registered("stranger", yes=True)
    monitor.seen("stranger", 5)
    assert monitor.peers == {}
    monitor.connected("a", 1, 100)
    with pytest.raises(LocalProtocolError):
        monitor.registered("a", yes=False)
    left = ConnectionBroken("left")
    monitor.disconnected("a", left)
    before = monitor.peers["a"]
    with pytest.raises(LocalProtocolError):
        monitor.disconnected("a", ConnectionBroken("again"))
    assert monitor.peers["a"] == before == Peer(D, 1, 100, "left", left)
    assert len(heard) == 2


def test_leaving_in_order_keeps_the_connection():
    monitor, _ = listened()
    monitor.connected("a", 1, 1)
    monitor.registered("a", yes=True)
    monitor.registered("a", yes=False)
    assert monitor.peers["a"].state is C


def test_a_callback_that_raises_does_not_hide_the_next(caplog):
    monitor, heard = Monitor(), []
    monitor.on_connect(lambda peer_id: 1 / 0)
    monitor.on_connect(heard.append)
    monitor.connected("a", 1, 1)
    assert heard == ["a"]
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.ERROR, "an on_connect callback raised for a")
    ]
