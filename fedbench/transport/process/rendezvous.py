"""Rendezvous: how two processes of one user find each other by node id, and get a queue for each direction.

Each node listens on a socket in Linux's abstract namespace (no file is left behind). The connecting side says
who it is, the listening side checks the process behind it, makes two pipes and hands over their ends.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import select
import socket
import struct
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from fedbench.errors import RoutingError
from fedbench.ids import check_name
from fedbench.transport.process.peer import Peer

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger("fedbench.transport")

BACKLOG = 4096
HANDSHAKE_TIMEOUT_S = 10.0
RETRY_S = 1.0
CROSSING = "it is opening a connection to this node itself"
"""Why a node refuses another that it is connecting to at the same time and whose id is higher."""
PROTOCOL = 2
_MAX_HELLO_BYTES = 4096
_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid


class Hello(msgspec.Struct, frozen=True, array_like=True):
    """What the connecting side says: version of the protocol, who it is, and whom it wants."""

    protocol: int
    source: str
    role: str | None
    target: str


class Welcome(msgspec.Struct, frozen=True, array_like=True):
    """What the listening side answers: a reason for refusing, or the epoch of the new connection."""

    refused: str
    epoch: int = 0


class Meeting(NamedTuple):
    """A connection that both sides have agreed on."""

    epoch: int
    peer: Peer


_encode = msgspec.msgpack.Encoder().encode
_hellos = msgspec.msgpack.Decoder(Hello)
_welcomes = msgspec.msgpack.Decoder(Welcome)


def address(exchange: str, node_id: str) -> bytes:
    """Return the address of a node: one namespace a user and exchange."""
    return f"\0fedbench-{os.getuid()}-{exchange}-{node_id}".encode()


class Listener:
    """Takes connections to one node.

    Args:
        exchange: Namespace in which nodes find each other.
        node_id: The node.
        admit: Called with the hello of a connecting node; returns the epoch, or raises
            :class:`RoutingError` to refuse it.
        adopt: Called with the hello and the meeting of one that was admitted, before it is answered.

    Raises:
        RoutingError: Somebody has that id in this exchange.
    """

    def __init__(
        self,
        exchange: str,
        node_id: str,
        admit: Callable[[Hello], int],
        adopt: Callable[[Hello, Meeting], None],
    ) -> None:
        self._node_id = node_id
        self._admit = admit
        self._adopt = adopt
        self._loop = asyncio.get_running_loop()
        self._greeting: dict[int, tuple[socket.socket, asyncio.TimerHandle]] = {}
        self._socket = _socket()
        try:
            self._socket.bind(address(exchange, node_id))
            self._socket.listen(BACKLOG)
        except OSError as error:
            self._socket.close()
            taken = error.errno == errno.EADDRINUSE
            reason = "another node of this exchange has the same id" if taken else str(error)
            raise RoutingError(node_id, node_id, reason) from None
        self._loop.add_reader(self._socket, self._accept)

    def close(self) -> None:
        """Take no more connections; idempotent."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._socket.close()
        for fd in list(self._greeting):
            self._forget(fd)

    def _accept(self) -> None:
        try:
            connected, _ = self._socket.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self._pause(error)
            return  # else it went away again
        connected.setblocking(False)
        fd = connected.fileno()
        # Who has not said by then who it is, is hung up on.
        self._greeting[fd] = connected, self._loop.call_later(HANDSHAKE_TIMEOUT_S, self._forget, fd)
        self._loop.add_reader(fd, self._greeted, fd)

    def _pause(self, error: OSError) -> None:
        """Do not listen for a while: who waits would be announced at every turn, and nothing can be done."""
        log.warning("%s takes no connections for %g s: %s", self._node_id, RETRY_S, error)
        self._loop.remove_reader(self._socket)
        self._loop.call_later(RETRY_S, self._resume)

    def _resume(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.add_reader(self._socket, self._accept)

    def _greeted(self, fd: int) -> None:
        connected, _ = self._greeting[fd]
        try:
            self._meet(connected, connected.recv(_MAX_HELLO_BYTES))
        except BlockingIOError:
            return
        except (OSError, ValueError, msgspec.DecodeError):
            pass  # it went away, or it is no node
        self._forget(fd)

    def _forget(self, fd: int) -> None:
        self._loop.remove_reader(fd)
        connected, timer = self._greeting.pop(fd)
        timer.cancel()
        connected.close()

    def _meet(self, connected: socket.socket, data: bytes) -> None:
        hello = _hellos.decode(data)
        pid, uid = _credentials(connected)
        if uid != os.getuid():
            return
        try:
            if hello.protocol != PROTOCOL:
                raise RoutingError(hello.source, hello.target, f"it speaks protocol {PROTOCOL}")
            if hello.target != self._node_id:
                raise RoutingError(hello.source, hello.target, "no such node listens")
            check_name(hello.source)
            epoch = self._admit(hello)
            theirs, ours = _pipes()
        except RoutingError as error:
            connected.send(_encode(Welcome(error.reason)))
            return
        except OSError as error:
            connected.send(_encode(Welcome(f"no queue could be made: {error}")))
            return
        try:
            peer = Peer(pid, _pidfd(pid, connected), *ours)
        except OSError:
            for fd in (*theirs, *ours):
                os.close(fd)
            return
        self._adopt(hello, Meeting(epoch, peer))
        try:
            socket.send_fds(connected, [_encode(Welcome("", epoch))], list(theirs))
        finally:
            for fd in theirs:
                os.close(fd)


async def meet(exchange: str, hello: Hello) -> Meeting:
    """Connect to the node that ``hello`` names. Cancelling leaves nothing behind.

    Raises:
        RoutingError: No such node listens, or it refuses.
    """
    with _socket() as connecting:
        try:
            connecting.connect(address(exchange, hello.target))
        except (ConnectionRefusedError, FileNotFoundError):
            raise RoutingError(hello.source, hello.target, "no such node listens") from None
        except OSError as error:
            raise RoutingError(hello.source, hello.target, f"it cannot be reached: {error}") from None
        connecting.send(_encode(hello))
        try:
            async with asyncio.timeout(HANDSHAKE_TIMEOUT_S):
                await _readable(connecting)
        except TimeoutError:
            reason = f"it did not answer within {HANDSHAKE_TIMEOUT_S:g} s"
            raise RoutingError(hello.source, hello.target, reason) from None
        try:
            data, fds, _, _ = socket.recv_fds(connecting, _MAX_HELLO_BYTES, 2)
            for fd in fds:
                os.set_inheritable(fd, False)  # else a grandchild would keep the queue open
            welcome = _welcomes.decode(data)
        except (OSError, msgspec.DecodeError):
            raise RoutingError(hello.source, hello.target, "it hung up") from None
        if welcome.refused or len(fds) != 2:
            for fd in fds:
                os.close(fd)
            raise RoutingError(hello.source, hello.target, welcome.refused or "it sent no queues")
        pid, _ = _credentials(connecting)
        try:
            return Meeting(welcome.epoch, Peer(pid, _pidfd(pid, None), *fds))
        except OSError:
            for fd in fds:
                os.close(fd)
            raise RoutingError(hello.source, hello.target, f"its process {pid} is gone") from None


def _socket() -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    made.setblocking(False)
    return made


async def _readable(connecting: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def ready() -> None:
        loop.remove_reader(fd)
        if not future.done():
            future.set_result(None)

    fd = connecting.fileno()
    loop.add_reader(fd, ready)
    try:
        await future
    finally:
        loop.remove_reader(fd)


def _credentials(connected: socket.socket) -> tuple[int, int]:
    data = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(data)
    return pid, uid


def _pidfd(pid: int, connected: socket.socket | None) -> int | None:
    """Return a descriptor of a process, None for this one.

    Raises:
        OSError: It is gone: its id may belong to another one by now, so its socket is looked at last.
    """
    if pid == os.getpid():
        return None
    pidfd = os.pidfd_open(pid)
    if connected is not None and _hung_up(connected):
        os.close(pidfd)
        raise ProcessLookupError(pid)
    return pidfd


def _hung_up(connected: socket.socket) -> bool:
    poller = select.poll()
    poller.register(connected, select.POLLHUP)
    return bool(poller.poll(0))


def _pipes() -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the ends of two new queues: to read and to write for the peer, then for this side."""
    flags = os.O_NONBLOCK | os.O_CLOEXEC
    down_read, down_write = os.pipe2(flags)
    try:
        up_read, up_write = os.pipe2(flags)
    except OSError:
        os.close(down_read)
        os.close(down_write)
        raise
    return (down_read, up_write), (up_read, down_write)
