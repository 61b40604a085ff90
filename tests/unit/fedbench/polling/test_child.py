"""The process of a polling client: what it is told, and how it ends where it cannot go on."""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import asynccontextmanager

import pytest

from fedbench.config import from_mapping
from fedbench.errors import ConnectionBroken
from fedbench.polling import child
from fedbench.polling.child import child_specs, run_client
from fedbench.values import ClientInfo


@pytest.fixture
def specs(monkeypatch):
    """What two clients are told, with this process as both their server and themselves."""
    monkeypatch.setattr(child, "enter", lambda server_pid: None)
    monkeypatch.setattr(child, "leave_with", lambda server_pid: None)
    monkeypatch.setattr(child.childlog, "configure", lambda setup, node_id: None)
    return child_specs(from_mapping({"seed": 3, "clients": {"count": 2}, "server": {"server_id": "hub"}}))


def test_every_client_is_told_who_it_is(specs):
    assert list(specs) == ["yaml_client_1", "yaml_client_2"]
    told = specs["yaml_client_2"]
    assert (told.server_pid, told.server_id) == (os.getpid(), "hub")
    assert told.info == ClientInfo("yaml_client_2", 1, 2, 3)


class Mail:
    """Mail of which every look ends in ``error``."""

    def __init__(self, error):
        self.error = error
        self.put_into = []
        self.closed = False

    def put(self, message):
        self.put_into.append(message.kind.value)

    async def receive(self, target, source, timeout_s, interval_s):
        await asyncio.sleep(0)
        raise self.error

    @asynccontextmanager
    async def open(self):
        yield self
        self.closed = True


@pytest.mark.parametrize(
    ("error", "traceback"), [(ConnectionBroken("no server"), False), (ZeroDivisionError("x"), True)]
)
def test_what_stops_a_client_is_logged_and_ends_its_process(specs, caplog, error, traceback):
    mail = Mail(error)
    with pytest.raises(SystemExit) as raised:
        run_client("yaml_client_1", specs["yaml_client_1"], mail.open)
    assert raised.value.code == 1
    assert mail.put_into == ["register"]
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.getMessage() == f"yaml_client_1 could not go on: {type(error).__name__}: {error}"
    assert bool(record.exc_info) == traceback


def test_sigterm_ends_a_client_in_order(specs, monkeypatch):
    mail = Mail(TimeoutError("nothing"))
    looks = []

    async def receive(*_):
        looks.append(1)
        if len(looks) == 3:
            os.kill(os.getpid(), 15)
        await asyncio.sleep(0.001)
        raise TimeoutError("nothing")

    monkeypatch.setattr(mail, "receive", receive)
    run_client("yaml_client_1", specs["yaml_client_1"], mail.open)
    assert mail.closed
