from __future__ import annotations

import pytest

from fedbench.configfile import Section
from fedbench.netsettings import NetworkSettings, TlsSettings, read_network


def read(data, server=None):
    problems = []
    section = Section(data, "transport", problems)
    settings = read_network(section, server)
    section.finish()
    return settings, [str(problem) for problem in problems]


def test_everything_has_a_default():
    assert read({}) == (NetworkSettings(), [])


def test_everything_can_be_set():
    settings, problems = read(
        {
            "host": "10.0.0.1",
            "port": 8443,
            "tls": {"cert": "c.pem", "key": "k.pem", "ca": "ca.pem"},
            "token_file": "tokens",
            "insecure": True,
            "heartbeat_s": 5,
            "resume_window_s": 7.5,
        }
    )
    assert problems == []
    assert settings == NetworkSettings(
        "10.0.0.1", 8443, TlsSettings("c.pem", "k.pem", "ca.pem"), "tokens", True, 5.0, 7.5
    )


def test_a_client_takes_what_it_does_not_say_from_its_server():
    server = NetworkSettings(
        "10.0.0.1", 8443, TlsSettings("c.pem", "k.pem", "ca.pem"), "tokens", False, 5.0, 7.5
    )
    same, problems = read({}, server)
    assert same == NetworkSettings("10.0.0.1", 8443, TlsSettings(ca="ca.pem"), "tokens", False, 5.0, 7.5)
    own, more = read({"host": "fed.example", "port": 1, "tls": {"cert": "mine.pem"}}, server)
    assert (own.host, own.port, own.tls) == ("fed.example", 1, TlsSettings("mine.pem"))
    assert problems == more == []


@pytest.mark.parametrize("key", ["heartbeat_s", "resume_window_s"])
def test_the_heartbeat_and_the_window_are_no_clients_to_set(key):
    server = NetworkSettings(heartbeat_s=5.0, resume_window_s=7.5)
    settings, problems = read({key: 9}, server)
    assert settings == server
    assert problems == [
        f"transport.{key}: its server says it to a client that connects: set it in server.transport"
    ]


def test_an_address_that_others_can_hear_is_a_problem_named_once():
    server, problems = read({"host": "10.0.0.1"})
    assert problems == [
        "transport.host: '10.0.0.1' is not loopback: set tls, or insecure: true if nobody else can reach it"
    ]
    assert read({}, server)[1] == []
    assert read({"host": "10.0.0.1", "insecure": True})[1] == []
    assert len(read({"host": "10.0.0.2"}, NetworkSettings())[1]) == 1


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({"port": 70_000}, "transport.port: 70000 is above 65535"),
        ({"heartbeat_s": 0}, "transport.heartbeat_s: 0 is out of range"),
        ({"resume_window_s": 1e-3}, "transport.resume_window_s: 0.001 is out of range: more than 0.001"),
        ({"tls": {"pem": "x"}}, "transport.tls.pem: unknown key"),
        ({"tls": "yes"}, "transport.tls: expected a mapping"),
        ({"insecure": "no"}, "transport.insecure: expected true or false"),
    ],
)
def test_what_is_wrong_is_named(data, problem):
    assert read(data)[1][0].startswith(problem)
