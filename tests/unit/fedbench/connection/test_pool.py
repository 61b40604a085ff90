from collections import defaultdict

from fedbench.connection.channel import BusinessChannel, ControlChannel
from fedbench.connection.pool import ConnectionPool, Link
from tests.fakes.connection import FakeConnection


def link(peer_id, epoch=1):
    return Link(FakeConnection("memory_server", peer_id, epoch), defaultdict(int), defaultdict(int))


def test_a_link_has_two_lanes():
    made = link("a")
    assert isinstance(made.business, BusinessChannel)
    assert isinstance(made.control, ControlChannel)


def test_a_pool_finds_by_peer():
    pool, one, two = ConnectionPool(), link("a"), link("b")
    pool.add(one)
    pool.add(two)
    assert (len(pool), list(pool)) == (2, ["a", "b"])
    assert pool.find("a") is one
    assert pool.find("c") is None


def test_a_newer_link_takes_the_place_and_is_not_removed_with_the_older():
    pool, older, newer = ConnectionPool(), link("a"), link("a", 2)
    pool.add(older)
    pool.add(newer)
    assert not pool.remove(older.connection)
    assert pool.find("a") is newer
    assert pool.remove(newer.connection)
    assert not pool.remove(newer.connection)
    assert len(pool) == 0


def test_closing_closes_every_connection_though_each_removes_itself():
    pool, links = ConnectionPool(), [link("a"), link("b"), link("c")]
    for held in links:
        pool.add(held)
        held.connection.on_closed(lambda connection, reason: pool.remove(connection))
    pool.close()
    assert all(held.connection.closed for held in links)
    assert len(pool) == 0
