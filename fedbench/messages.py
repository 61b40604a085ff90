"""The one message that travels between nodes, and its kinds."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

import msgspec

from fedbench.errors import LocalProtocolError
from fedbench.tensors.model import ModelState

if TYPE_CHECKING:
    from collections.abc import Callable


class Channel(Enum):
    """The two lanes of a connection; control overtakes business."""

    BUSINESS = "business"
    CONTROL = "control"


class Kind(Enum):
    """What a message is, and so which channel it travels on."""

    RPC_REQUEST = "rpc_request"
    RPC_RESPONSE = "rpc_response"
    MODEL_PUSH = "model_push"
    PUSH_ACK = "push_ack"
    CLIENT_NOTIFY = "client_notify"
    DATA = "data"
    REGISTER = "register"
    REGISTERED = "registered"
    UNREGISTER = "unregister"
    HEARTBEAT = "heartbeat"
    STATUS_QUERY = "status_query"
    STATUS = "status"
    CONNECTION_EVENT = "connection_event"

    channel: Channel

    __hash__ = object.__hash__  # members are singletons; Enum's own hash is a Python call on the hot path


_CONTROL = {"register", "registered", "unregister", "heartbeat", "status_query", "status", "connection_event"}
for _kind in Kind:
    _kind.channel = Channel.CONTROL if _kind.value in _CONTROL else Channel.BUSINESS

# Reading a member off its enum costs as much as a function call on 3.11: the way of every message uses these.
BUSINESS = Channel.BUSINESS
DATA = Kind.DATA
MODEL_PUSH = Kind.MODEL_PUSH
RPC_REQUEST = Kind.RPC_REQUEST
RPC_RESPONSE = Kind.RPC_RESPONSE

BUSINESS_KINDS = tuple(kind for kind in Kind if kind.channel is Channel.BUSINESS)
CONTROL_KINDS = tuple(kind for kind in Kind if kind.channel is Channel.CONTROL)


class Message(msgspec.Struct, frozen=True):
    """One message, from one node to another.

    Attributes:
        kind: What it is.
        source: Id of the sending node.
        target: Id of the receiving node.
        method: Method name of an RPC, event name of a push or notification; else empty.
        body: Plain data (None, bool, int, float, str, bytes, list, dict); never an object with behaviour.
        tensors: A model, or None.
        correlation_id: Ties a response or acknowledgement to its request; 0 where there is none.
        deadline_ns: Monotonic time after which the message is worthless; 0 for never. Across machines a
            transport sends the remaining time instead.
        epoch: Session epoch of the sender, from 1.
        seq: Position in the sender's channel within the epoch, from 1; 0 before a channel has numbered it.
        sent_ns: Monotonic time at which ``send`` was called.
        intended_ns: Monotonic time at which the caller meant to send, 0 where that is not distinguished.
    """

    kind: Kind
    source: str
    target: str
    method: str = ""
    body: Any = None
    tensors: ModelState | None = None
    correlation_id: int = 0
    deadline_ns: int = 0
    epoch: int = 1
    seq: int = 0
    sent_ns: int = 0
    intended_ns: int = 0

    @property
    def channel(self) -> Channel:
        """The lane this message travels on."""
        return self.kind.channel


ATOMS = frozenset({type(None), bool, int, float, str, bytes})
_INHERITABLE: tuple[Callable[[Any], Any], ...] = (int, float, str, bytes)
_MAX_DEPTH = 64


def snapshot(body: Any, depth: int = 0) -> Any:
    """Return plain data that nobody else can change: atoms as they are, containers copied.

    Every mode hands over exactly what the wire could carry: tuples become lists, subclasses of atoms
    (``np.float64`` is a float) become the atom.

    Raises:
        LocalProtocolError: ``body`` holds something else, is nested deeper than 64, or has a key that is
            neither str nor int; the message names it and the remedy.
    """
    kind = type(body)
    if kind in ATOMS:
        return body
    if depth > _MAX_DEPTH:
        raise LocalProtocolError(f"the body is nested deeper than {_MAX_DEPTH} levels, or contains itself")
    if kind is dict:
        copied = {}
        for key, value in body.items():
            if type(key) is not str and type(key) is not int:
                raise LocalProtocolError(f"key {key!r} of the body is a {type(key).__name__}: use str or int")
            copied[key] = value if type(value) in ATOMS else snapshot(value, depth + 1)
        return copied
    if kind is list or kind is tuple:
        return [snapshot(item, depth + 1) for item in body]
    for atom in _INHERITABLE:
        if isinstance(body, atom) and not isinstance(body, Enum):  # type: ignore[arg-type]  # all are classes
            return atom(body)
    raise LocalProtocolError(
        f"a message body cannot carry a {kind.__module__}.{kind.__qualname__}: use None, bool, int, float, "
        "str, bytes, list and dict, and put arrays into a ModelState"
    )


def weight_bytes(message: Message) -> int:
    """Estimate what a queued message holds in memory, in bytes: an envelope, its body and its tensors."""
    size = 256 + _body_bytes(message.body)
    return size if message.tensors is None else size + message.tensors.nbytes


def _body_bytes(body: Any) -> int:
    if isinstance(body, str | bytes):
        return len(body)
    if isinstance(body, list):
        return 8 * len(body) + sum(map(_body_bytes, body))
    if isinstance(body, dict):
        return 16 * len(body) + sum(map(_body_bytes, body)) + sum(map(_body_bytes, body.values()))
    return 8
