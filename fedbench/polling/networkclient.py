"""What runs in the process of a client under the legacy architecture whose mail is behind HTTP."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

import aiohttp
from yarl import URL

from fedbench.errors import ConnectionBroken, TransportError
from fedbench.polling import jsonmail
from fedbench.polling.child import run_client
from fedbench.polling.mail import Postbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fedbench.messages import Message
    from fedbench.polling.child import ChildSpec
    from fedbench.polling.http import Address

CONNECT_TIMEOUT_S = 10.0


class HttpClientSpec(NamedTuple):
    """What a client's process is told at its start.

    Attributes:
        child: Who it is.
        address: Where its server listens.
    """

    child: ChildSpec
    address: Address


def client_main(client_id: str, incarnation: int, spec: HttpClientSpec) -> None:
    """Be a client until SIGTERM comes or the server is gone. Raises as :func:`run_client`."""
    run_client(client_id, spec.child, lambda: open_mail(spec.address))


@asynccontextmanager
async def open_mail(address: Address) -> AsyncIterator[RemoteMail]:
    """Give a client its mail, over one connection that is kept."""
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S)  # a model may take long
    async with aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield RemoteMail(session, address)


class RemoteMail(Postbox):
    """The mail of one client. What it puts goes out before it looks again.

    Args:
        session: Makes the requests.
        address: Where it listens.
    """

    def __init__(self, session: aiohttp.ClientSession, address: Address) -> None:
        self._session = session
        base = URL.build(scheme="http", host=address.host, port=address.port)
        self._send_to, self._receive_from = base / "send", base / "receive"
        self._outbox: list[bytes] = []

    def put(self, message: Message) -> None:
        """Keep ``message`` as JSON until the next :meth:`receive`.

        Raises:
            LocalProtocolError: Its body is not plain data.
        """
        self._outbox.append(jsonmail.encode(message))

    async def receive(self, target: str, source: str, timeout_s: float, interval_s: float) -> Message:
        """Send what was put, then look every ``interval_s`` seconds until there is a message.

        It does not look once more at the end, as the next call looks at its beginning. Cancelling it may lose
        what is under way.

        Raises:
            TimeoutError: There was none for ``timeout_s`` seconds.
            ConnectionBroken: The server cannot be reached.
            TransportError: It refused a request.
            RemoteProtocolError: It sent what is no message.
        """
        while self._outbox:
            await self._post(self._send_to, self._outbox[0])
            del self._outbox[0]
        loop = asyncio.get_running_loop()
        end_s = loop.time() + timeout_s
        url = self._receive_from.with_query(target=target, source=source)
        while not (data := await self._post(url)):
            left_s = end_s - loop.time()
            await asyncio.sleep(min(interval_s, max(left_s, 0)))
            if left_s <= interval_s:
                raise TimeoutError(f"{target} found nothing from {source} within {timeout_s} s")
        return jsonmail.decode(data)

    async def _post(self, url: URL, data: bytes | None = None) -> bytes:
        try:
            async with self._session.post(url, data=data) as response:
                answer = await response.read()
        except aiohttp.ClientError as error:
            raise ConnectionBroken(f"the server at {url.origin()} cannot be reached: {error}") from error
        if response.status not in (200, 204):
            raise TransportError(
                f"the server answered {response.status}: {answer[:500].decode(errors='replace')}"
            )
        return answer
