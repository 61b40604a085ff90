"""The mail of a client by HTTP: one look an interval, at one mailbox; its process ends with the server."""

from __future__ import annotations

import numpy as np
import pytest
from aiohttp import web

from fedbench.errors import ConnectionBroken, LocalProtocolError, TransportError
from fedbench.messages import Kind, Message
from fedbench.polling.http import Address, HttpMail
from fedbench.polling.networkclient import open_mail
from fedbench.tensors.model import ModelState


class Counted(HttpMail):
    """Counts the looks."""

    looks = 0

    async def _receive(self, request: web.Request) -> web.Response:
        self.looks += 1
        return await super()._receive(request)


@pytest.fixture
async def server():
    made = Counted("hub", ["a"])
    yield made
    await made.close()


@pytest.fixture
async def mail(server):
    async with open_mail(await server.listen("127.0.0.1", 0)) as opened:
        yield opened


async def test_messages_travel_both_ways_in_order(server, mail):
    model = ModelState.from_arrays({"w": np.arange(6.0).reshape(2, 3)}, 4)
    for number in (1, 2):
        server.put(Message(Kind.RPC_REQUEST, "hub", "a", "train", number, model, number))
        mail.put(Message(Kind.RPC_RESPONSE, "a", "hub", "", number, model, number))
    for number in (1, 2):
        received = await mail.receive("a", "hub", 5.0, 0.001)
        answered = server.look("hub", "a")
        assert (received.body, received.method, received.correlation_id) == (number, "train", number)
        assert (answered.body, answered.correlation_id) == (number, number)
        assert received.tensors == answered.tensors == model
        assert received.tensors.version == 4


async def test_one_receive_that_finds_nothing_is_one_look(server, mail):
    with pytest.raises(TimeoutError, match=r"a found nothing from hub within 0\.01 s"):
        await mail.receive("a", "hub", 0.010, 0.010)
    assert server.looks == 1
    with pytest.raises(TimeoutError):
        await mail.receive("a", "hub", 0.010, 0.002)
    assert 2 <= server.looks <= 6


async def test_an_id_that_is_not_the_servers_is_looked_for_too_and_what_was_put_goes_out(server, mail):
    mail.put(Message(Kind.REGISTER, "a", "hub"))
    with pytest.raises(TimeoutError, match=r"a found nothing from fed_server within 0\.01 s"):
        await mail.receive("a", "fed_server", 0.010, 0.010)
    assert server.looks == 1
    assert server.look("hub", "a").kind is Kind.REGISTER


async def test_what_is_not_plain_data_is_refused_at_once(mail):
    with pytest.raises(LocalProtocolError, match="cannot carry"):
        mail.put(Message(Kind.DATA, "a", "hub", body=object()))


async def test_a_server_that_is_gone_is_told(server, mail):
    await server.close()
    with pytest.raises(ConnectionBroken, match=r"the server at http://127\.0\.0\.1:\d+ cannot be reached"):
        await mail.receive("a", "hub", 5.0, 0.001)


async def test_what_the_server_refuses_is_told_with_its_reason(server):
    address = await server.listen("127.0.0.1", 0)
    async with open_mail(Address("127.0.0.1", address.port)) as mail:
        with pytest.raises(TransportError, match="the server answered 404: no route from 'hub' to 'eve'"):
            await mail.receive("eve", "hub", 5.0, 0.001)
