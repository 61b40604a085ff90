"""What two nodes tell each other before a link carries frames. Pure.

Both travel as headers of the HTTP request that becomes a WebSocket and of its answer: nothing of a peer is
read before it has been authenticated but one bounded head of a request.
"""

from __future__ import annotations

import base64
import binascii
from typing import TypeVar

import msgspec

from fedbench.errors import RemoteProtocolError
from fedbench.ids import Role
from fedbench.netsettings import LEAST_S, MOST_S
from fedbench.transport.network.session import Position

PROTOCOL = 2
HELLO_HEADER = "X-Fedbench-Hello"
WELCOME_HEADER = "X-Fedbench-Welcome"
REFUSED_HEADER = "X-Fedbench-Refused"
MAX_HEADER_BYTES = 2048

T = TypeVar("T")


class Hello(msgspec.Struct, frozen=True, array_like=True):
    """What the dialling side says.

    Attributes:
        protocol: Version that it speaks.
        source: Who it is.
        role: Its role, None if unknown.
        target: Whom it wants.
        clock_id: What its times can be compared with, see :func:`shift_ns`.
        now_ns: Its monotonic time.
        session: Secret of the session that it goes on with, empty for a new one.
        position: Where it is in that session.
    """

    protocol: int
    source: str
    role: Role | None
    target: str
    clock_id: str
    now_ns: int
    session: bytes = b""
    position: Position = Position()


class Welcome(msgspec.Struct, frozen=True, array_like=True):
    """What the listening side answers.

    Attributes:
        epoch: Epoch of the session.
        session: Its secret.
        clock_id: As in the hello.
        now_ns: As in the hello.
        heartbeat_s: Its heartbeat, in seconds, which the link is to have.
        resume_window_s: How long the session outlives its link at both ends, in seconds.
        position: Where it is in the session.
    """

    epoch: int
    session: bytes
    clock_id: str
    now_ns: int
    heartbeat_s: float
    resume_window_s: float
    position: Position = Position()


_encoder = msgspec.msgpack.Encoder()
_hellos = msgspec.msgpack.Decoder(Hello)
_welcomes = msgspec.msgpack.Decoder(Welcome)


def to_header(said: Hello | Welcome) -> str:
    """Return it as the value of a header."""
    return base64.urlsafe_b64encode(_encoder.encode(said)).decode()


def read_hello(header: str) -> Hello:
    """Return the hello that a header holds.

    Raises:
        RemoteProtocolError: It holds none, or one of another version.
    """
    hello = _read(header, _hellos)
    if hello.protocol != PROTOCOL:
        raise RemoteProtocolError(f"protocol {hello.protocol} is not spoken here, {PROTOCOL} is")
    return hello


def read_welcome(header: str) -> Welcome:
    """Return the welcome that a header holds.

    Raises:
        RemoteProtocolError: It holds none, or one with a time that no server may have.
    """
    welcome = _read(header, _welcomes)
    for name in ("heartbeat_s", "resume_window_s"):
        value = getattr(welcome, name)
        if not LEAST_S < value <= MOST_S:  # nor is it, if it is no number
            raise RemoteProtocolError(
                f"its {name} is {value:g}: more than {LEAST_S:g} and at most {MOST_S:g} is needed"
            )
    return welcome


def shift_ns(said: Hello | Welcome, clock_id: str, now_ns: int) -> int:
    """Return what is to be added to the peer's times to have this node's.

    Nodes of one machine share a clock. Between machines the time that the message took is counted in.

    Args:
        said: What the peer said.
        clock_id: Clock of this node.
        now_ns: This node's time at which the peer said it, as far as is known.
    """
    return 0 if said.clock_id == clock_id else now_ns - said.now_ns


def _read(header: str, decoder: msgspec.msgpack.Decoder[T]) -> T:
    if len(header) > MAX_HEADER_BYTES:
        raise RemoteProtocolError(f"a handshake of {len(header)} bytes is oversized")
    try:
        return decoder.decode(base64.urlsafe_b64decode(header.encode("ascii")))
    except (binascii.Error, UnicodeError, msgspec.DecodeError) as error:
        raise RemoteProtocolError(f"a handshake cannot be read: {error}") from error
