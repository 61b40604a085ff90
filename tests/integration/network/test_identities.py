"""Ids, sessions, tokens and certificates that are unknown, forged or somebody else's: refused by name."""

from __future__ import annotations

import logging

import pytest

from fedbench.errors import RegistrationError, RoutingError
from fedbench.transport.network.tokens import MISSING, UNKNOWN
from tests.fakes.proxy import Proxy
from tests.fakes.stranger import hello
from tests.integration.network.conftest import BAD, GOOD, SERVER, within

SECRET = b"0123456789abcdef"


async def refused(town, client_id, said, ssl=None, **headers):
    """Return the status and the reason with which a stranger is refused."""
    stranger = await town.stranger(ssl)
    return await within(stranger.upgrade(client_id, said, **headers))


FORGED = {
    "another in a free place": (BAD, hello(GOOD[0], SERVER), 400, f"it is not {GOOD[0]} whose place this is"),
    "in the place of another": (GOOD[0], hello(BAD, SERVER), 400, f"it is not {BAD} whose place this is"),
    "to an unknown target": (BAD, hello(BAD, "nobody"), 404, "client to client is not permitted"),
    "to a client": (BAD, hello(BAD, GOOD[0]), 404, "client to client is not permitted"),
    "to itself": (BAD, hello(BAD, BAD), 404, "client to client is not permitted"),
    "as a server": (BAD, hello(BAD, SERVER, role="server"), 404, "server to server is not permitted"),
    "as this server": (SERVER, hello(SERVER, SERVER, role="server"), 404, "server to server is not"),
    "with no name": ("%2E%2E", hello("..", SERVER), 400, "cannot name a node"),
    "with a session that never was": (BAD, hello(BAD, SERVER, session=SECRET), 410, "no such session of"),
    "with the session of another": (GOOD[0], hello(GOOD[0], SERVER, session=SECRET), 410, "no such session"),
    "with a session of one byte": (GOOD[0], hello(GOOD[0], SERVER, session=b"x"), 410, "no such session"),
    "of nothing": (BAD, "", 400, "a handshake cannot be read"),
}


@pytest.mark.parametrize("forged", FORGED)
async def test_a_hello_that_is_forged_is_refused_by_name_and_disturbs_nobody(town, forged):
    client_id, said, status, reason = FORGED[forged]
    peers = town.comm.get_connection_status()["peers"]
    answered, why = await refused(town, client_id, said)
    assert answered == status
    assert reason in why
    await town.intact()
    now = town.comm.get_connection_status()["peers"]
    assert all(now[good]["epoch"] == peers[good]["epoch"] == 1 for good in GOOD)


async def test_who_is_no_client_of_the_federation_is_connected_and_not_registered(town):
    with pytest.raises(RegistrationError, match=f"{SERVER} refused stranger_9: stranger_9 is no client"):
        await town.join("stranger_9")
    await town.intact()


@pytest.mark.parametrize(
    ("target", "reason"), [("nobody", "client to client"), (GOOD[0], "client to client")]
)
async def test_a_client_reaches_nobody_but_the_server(town, target, reason):
    client = await town.join(BAD)
    with pytest.raises(RoutingError, match=reason):
        await within(client.comm.connections.connect(target))
    assert (await town.round()).arrived == (*GOOD, BAD)


# Where no WebSocket gets through, and for scripts ----------------------------------------------------------


async def test_a_forged_session_posts_nothing(town):
    proxy = Proxy()
    await proxy.start(town.port)
    proxy.mangle = lambda data: data.replace(b"Upgrade: websocket", b"X-Upgrade: websockt")
    try:
        await town.join(BAD, port=proxy.port)
        for headers in (
            {},
            {"X-Fedbench-Client": BAD},
            {"X-Fedbench-Client": BAD, "X-Fedbench-Session": "MDEyMzQ1Njc4OWFiY2RlZg=="},
            {"X-Fedbench-Client": BAD, "X-Fedbench-Session": ""},
            {"X-Fedbench-Client": GOOD[0], "X-Fedbench-Session": "MDEyMzQ1Njc4OWFiY2RlZg=="},
        ):
            stranger = await town.stranger()
            asking = stranger.ask(
                "/api/message", method="POST", body=b"junk", **{"Content-Length": 4, **headers}
            )
            status, answered = await within(asking)
            assert (status, answered["X-Fedbench-Refused"]) == (410, "there is no such stream of events")
        assert BAD not in town.ended
        assert (await town.round()).arrived == (*GOOD, BAD)
    finally:
        await town.clients.pop(BAD).stop()
        await proxy.close()


@pytest.mark.parametrize("path", ["/notify", "/api/heartbeat", "/api/unregister", "/rpc/ping"])
async def test_a_script_without_its_session_is_refused(town, path):
    for client_id in (GOOD[0], BAD):
        stranger = await town.stranger()
        headers = {"X-Fedbench-Client": client_id, "X-Fedbench-Session": "MDEyMzQ1Njc4OWFiY2RlZg=="}
        assert (await within(stranger.ask(path, method="POST", **headers)))[0] == 410
    await town.intact()


# Tokens ----------------------------------------------------------------------------------------------------


@pytest.fixture
def tokens(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.write_text(text)
        path.chmod(0o600)
        return str(path)

    return write


@pytest.fixture
async def guarded(make_town, tokens):
    """A federation whose clients have a token each, those of the good ones in one file of the server."""
    held = "".join(f"{client_id} of-{client_id}\n" for client_id in (*GOOD, BAD))
    files = {client_id: tokens(client_id, f"of-{client_id}") for client_id in (*GOOD, BAD)}
    town = await make_town(
        lambda client_id: {"token_file": files[client_id]}, token_file=tokens("held", held)
    )
    await town.leave()
    return town


@pytest.mark.parametrize(
    ("client_id", "shown", "reason"),
    [
        (BAD, None, MISSING),
        (BAD, "Bearer wrong", UNKNOWN),
        (BAD, "Bearer ", MISSING),
        (BAD, "of-yaml_client_3", MISSING),
        (BAD, "Basic of-yaml_client_3", MISSING),
        (BAD, "Bearer of-yaml_client_1", UNKNOWN),
        (GOOD[0], "Bearer of-yaml_client_3", UNKNOWN),
    ],
)
async def test_a_token_that_is_wrong_or_anothers_is_refused(guarded, caplog, client_id, shown, reason):
    headers = {} if shown is None else {"Authorization": shown}
    status, why = await refused(guarded, client_id, hello(client_id, SERVER), **headers)
    assert (status, why) == (401, reason)
    assert f"refused {client_id} at 127.0.0.1: {reason}" in caplog.text
    assert "of-yaml" not in caplog.text
    await guarded.intact()


async def test_a_client_with_a_wrong_token_says_so(guarded, tokens, caplog):
    caplog.set_level(logging.DEBUG)
    for text in ("wrong", "of-yaml_client_1"):
        with pytest.raises(RoutingError, match="refuses: no such token is known"):
            await guarded.join(BAD, token_file=tokens("shown", text))
    assert "of-yaml" not in caplog.text
    await guarded.intact()


async def test_a_token_that_was_taken_out_of_the_file_is_refused_by_the_next_server(make_town, tokens):
    held, mine = tokens("held", "everybodys\n"), tokens("mine", "everybodys")
    first = await make_town({"token_file": mine}, token_file=held)
    port = first.port
    await first.stop()
    tokens("held", "another\n")
    second = await make_town({"token_file": tokens("new", "another")}, token_file=held, port=port)
    with pytest.raises(RoutingError, match="no such token is known"):
        await second.join("yaml_client_4", token_file=mine)
    await second.leave()
    await second.intact()


# Certificates ----------------------------------------------------------------------------------------------


@pytest.fixture
async def mutual(make_town, certificates):
    """A federation in which both sides show certificates."""
    ca = certificates("ca")
    town = await make_town(
        lambda client_id: {"tls": {"cert": certificates(client_id), "ca": ca}},
        tls={"cert": certificates("127.0.0.1"), "ca": ca},
    )
    await town.leave()
    return town


async def test_a_client_without_a_certificate_is_refused(mutual, certificates):
    with pytest.raises(RoutingError, match="it may want a client's certificate"):
        await mutual.join(BAD, tls={"ca": certificates("ca")})
    await mutual.intact()


async def test_a_client_with_a_certificate_of_nobody_we_know_is_refused(mutual, certificates):
    with pytest.raises(RoutingError, match="cannot be reached"):
        await mutual.join(BAD, tls={"cert": certificates("foreign"), "ca": certificates("ca")})
    await mutual.intact()


async def test_a_client_with_the_certificate_of_another_is_refused(mutual, certificates):
    with pytest.raises(RoutingError, match=f"refuses: the certificate is that of {GOOD[0]}"):
        await mutual.join(BAD, tls={"cert": certificates(GOOD[0]), "ca": certificates("ca")})
    await mutual.intact()


async def test_a_certificate_does_not_open_the_place_of_another_by_any_path(mutual, certificates):
    from fedbench.netsettings import NetworkSettings, TlsSettings
    from fedbench.transport.network.security import load

    shown = TlsSettings(certificates(BAD), None, certificates("ca"))
    context = load(NetworkSettings(tls=shown), server=False).context
    assert (await refused(mutual, GOOD[0], hello(GOOD[0], SERVER), context))[0] == 403
    for path in ("/api/register", "/api/message", "/notify"):
        stranger = await mutual.stranger(context)
        asking = stranger.ask(path, method="POST", **{"X-Fedbench-Client": GOOD[0], "Content-Length": 0})
        assert (await within(asking))[0] == 403
    stranger = await mutual.stranger(context)
    path = f"/sse/{GOOD[0]}"
    assert (await within(stranger.ask(path, **{"X-Fedbench-Client": BAD})))[0] == 403
    await mutual.intact()


async def test_a_server_of_an_authority_we_do_not_trust_is_not_spoken_to(mutual, certificates):
    tls = {"cert": certificates(BAD), "ca": certificates("foreign_ca")}
    with pytest.raises(RoutingError, match=r"(?i)cannot be reached: .*certificate.verify.failed"):
        await mutual.join(BAD, tls=tls)
    await mutual.intact()


async def test_a_server_whose_certificate_is_for_another_host_is_not_spoken_to(make_town, certificates):
    town = await make_town({"tls": {"ca": certificates("ca")}}, tls={"cert": certificates("127.0.0.1")})
    with pytest.raises(RoutingError, match=r"(?i)cannot be reached: .*localhost"):
        await town.join("yaml_client_4", host="localhost")
    await town.leave()
    await town.intact()


async def test_a_client_that_speaks_in_the_clear_to_a_server_with_tls_is_refused(mutual):
    with pytest.raises(RoutingError, match="cannot be reached"):
        await mutual.join(BAD, tls=None)
    await mutual.intact()


async def test_a_client_with_tls_of_a_server_without_is_refused(town, certificates):
    with pytest.raises(RoutingError, match="cannot be reached"):
        await town.join(BAD, tls={"ca": certificates("ca")})
    await town.intact()
