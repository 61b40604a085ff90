"""Mailboxes behind HTTP: every look is answered at once, and nobody else's mail is touched."""

from __future__ import annotations

import logging
import socket

import aiohttp
import pytest

from fedbench.errors import LocalProtocolError, TransportError
from fedbench.messages import Kind, Message
from fedbench.polling import jsonmail
from fedbench.polling.http import HttpMail

RECEIVE = "receive?target=a&source=hub"


@pytest.fixture
async def mail():
    made = HttpMail("hub", ["a", "b"])
    yield made
    await made.close()


@pytest.fixture
async def ask(mail):
    """A function that makes a request and returns its status and body."""
    address = await mail.listen("127.0.0.1", 0)
    async with aiohttp.ClientSession(f"http://{address.host}:{address.port}") as session:

        async def request(path, data=None, method="POST"):
            async with session.request(method, f"/{path}", data=data) as response:
                return response.status, await response.read()

        yield request


def letter(source="a", target="hub", **fields):
    return jsonmail.encode(Message(Kind.DATA, source, target, **fields))


async def test_what_is_sent_lies_in_its_senders_box(mail, ask):
    assert await ask("send", letter(body={"x": [1, b"2"]})) == (204, b"")
    assert await ask("send", letter(body="next")) == (204, b"")
    assert mail.look("hub", "b") is None
    assert mail.look("a", "hub") is None
    assert mail.look("hub", "a").body == {"x": [1, b"2"]}
    assert (await mail.receive("hub", "a", 1.0, 0.001)).body == "next"
    assert mail.look("hub", "a") is None


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_look_is_answered_at_once_with_one_message_or_none(mail, ask, method):
    for body in (1, 2):
        mail.put(Message(Kind.DATA, "hub", "a", body=body))
    assert await ask("receive?target=b&source=hub", method=method) == (204, b"")
    for body in (1, 2):
        status, data = await ask(RECEIVE, method=method)
        assert (status, jsonmail.decode(data).body) == (200, body)
    assert await ask(RECEIVE, method=method) == (204, b"")


async def test_changing_what_was_put_changes_nothing(mail, ask):
    body = [[1]]
    mail.put(Message(Kind.DATA, "hub", "a", body=body))
    body[0].append(2)
    assert jsonmail.decode((await ask(RECEIVE))[1]).body == [[1]]
    with pytest.raises(LocalProtocolError, match="cannot carry"):
        mail.put(Message(Kind.DATA, "hub", "a", body=object()))


async def test_what_nobody_has_taken_can_be_withdrawn(mail, ask):
    for number in (1, 2):
        mail.put(Message(Kind.RPC_REQUEST, "hub", "a", body=number, correlation_id=number))
    mail.withdraw("a", "hub", 1)
    mail.withdraw("a", "hub", 7)
    mail.withdraw("nobody", "hub", 2)
    assert jsonmail.decode((await ask(RECEIVE))[1]).body == 2


async def test_mail_for_a_forgotten_client_vanishes(mail, ask):
    mail.put(Message(Kind.DATA, "hub", "a"))
    await ask("send", letter())
    mail.forget("a")
    mail.forget("a")
    mail.put(Message(Kind.DATA, "hub", "a"))
    assert mail.look("hub", "a") is None
    assert (await ask(RECEIVE))[0] == 404


@pytest.mark.parametrize(
    ("path", "data", "status", "text"),
    [
        ("send", b"{", 400, "a message cannot be read"),
        ("send", b"", 400, "a message cannot be read"),
        ("send", letter(source="eve"), 404, "no route from 'eve' to 'hub': the server here is 'hub'"),
        ("send", letter(target="b"), 404, "no route from 'a' to 'b'"),
        ("receive?target=eve&source=hub", None, 404, "no route from 'hub' to 'eve'"),
        ("receive", None, 404, "no route from '' to ''"),
    ],
)
async def test_what_does_not_belong_here_is_refused_and_told(ask, caplog, path, data, status, text):
    found, answer = await ask(path, data)
    assert found == status
    assert text in answer.decode()
    (record,) = [record for record in caplog.records if record.name == "fedbench.polling"]
    assert record.levelno == logging.WARNING
    assert (await ask("send", letter()))[0] == 204, "others are served as before"


async def test_a_message_that_is_too_large_is_refused(mail, monkeypatch):
    monkeypatch.setattr("fedbench.polling.http.MAX_BODY_BYTES", 1000)
    address = await mail.listen("127.0.0.1", 0)
    async with aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{address.port}/send"
        async with session.post(url, data=letter(body="x" * 1000)) as response:
            assert response.status == 413
    assert mail.look("hub", "a") is None


async def test_it_listens_on_this_machine_and_the_port_asked_for(mail):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert await mail.listen("127.0.0.1", port) == ("127.0.0.1", port)


async def test_a_port_in_use_is_named(mail):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            TransportError, match=rf"127\.0\.0\.1 port {port}: Address already in use; choose"
        ):
            await mail.listen("127.0.0.1", port)


async def test_closing_twice_is_closing_once(mail):
    await mail.listen("127.0.0.1", 0)
    await mail.close()
    await mail.close()
