"""The whole exception tree of the runtime, in one place.

::

    FedbenchError
    ├── ConfigError                    a configuration is wrong; carries every problem at once
    ├── TransportError                 layer 5
    │   ├── ConnectionClosed           this side closed the connection
    │   ├── ConnectionBroken           the other side or the link broke it
    │   │   └── PeerLost               … and the peer is known to be dead
    │   ├── Overloaded                 a bounded queue is full
    │   ├── RoutingError               no way from this source to that target
    │   └── TensorStoreFull            no room for a model
    ├── ProtocolError
    │   ├── LocalProtocolError         this program misused the interface
    │   └── RemoteProtocolError        the peer sent something it must not send
    ├── RpcError
    │   ├── RemoteError                the remote handler raised
    │   └── DeadlineExceeded           no answer in time
    ├── RegistrationError              a client was not admitted
    └── TrainingError                  a round could not be completed
        ├── UnfitModel                 … because the initial model does not fit the learner
        └── QuorumNotReached           … because too few clients answered
"""

from __future__ import annotations

from typing import NamedTuple


class FedbenchError(Exception):
    """Root of every exception that the runtime raises on purpose."""


class Problem(NamedTuple):
    """One thing that is wrong with a configuration.

    Attributes:
        path: Where, as a dotted path with indices (``clients[2].transport.type``); empty for the whole.
        message: What is wrong and what would be right.
    """

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class ConfigError(FedbenchError):
    """A configuration is wrong.

    Attributes:
        source: The file or object that was read.
        problems: Every problem found, in document order; never empty.
    """

    def __init__(self, source: str, problems: list[Problem]) -> None:
        self.source = source
        self.problems = problems
        super().__init__(f"{source}: " + "; ".join(str(problem) for problem in problems))


class TransportError(FedbenchError):
    """Something went wrong between two nodes."""


class ConnectionClosed(TransportError):
    """The connection was closed on this side, so it cannot be used any more."""


class ConnectionBroken(TransportError):
    """The connection was ended from outside: by the peer or by the link.

    Attributes:
        reason: Why; empty if the peer closed it in order.
    """

    def __init__(self, text: str, reason: str = "") -> None:
        self.reason = reason
        super().__init__(text)


class PeerLost(ConnectionBroken):
    """The peer is gone.

    Attributes:
        peer_id: Id of the node that was lost.
        reason: How that is known.
    """

    def __init__(self, peer_id: str, reason: str) -> None:
        self.peer_id = peer_id
        super().__init__(f"lost {peer_id}: {reason}", reason)


class Overloaded(TransportError):
    """A bounded queue is full and the sender chose not to wait."""


class RoutingError(TransportError):
    """There is no permitted way from a source to a target.

    Attributes:
        source: Id the message claims to come from.
        target: Id it was meant for.
        reason: Why it was refused.
    """

    def __init__(self, source: str, target: str, reason: str) -> None:
        self.source = source
        self.target = target
        self.reason = reason
        super().__init__(f"no route from {source!r} to {target!r}: {reason}")


class TensorStoreFull(TransportError):
    """The tensor store has no room for a model; nothing was written."""


class ProtocolError(FedbenchError):
    """A rule of the protocol was broken."""


class LocalProtocolError(ProtocolError):
    """This program broke it: fix the caller."""


class RemoteProtocolError(ProtocolError):
    """The peer broke it: its message was refused."""


class RpcError(FedbenchError):
    """A remote call did not return a result."""


class RemoteError(RpcError):
    """The remote handler raised.

    Attributes:
        node_id: Id of the node whose handler raised.
        type_name: Name of the exception's class over there.
        message: Its message.
        traceback_text: Its formatted traceback, for people.
    """

    def __init__(self, node_id: str, type_name: str, message: str, traceback_text: str = "") -> None:
        self.node_id = node_id
        self.type_name = type_name
        self.message = message
        self.traceback_text = traceback_text
        super().__init__(f"{node_id} raised {type_name}: {message}")


class DeadlineExceeded(RpcError):
    """No answer came before the deadline; the call may still run over there."""


class RegistrationError(FedbenchError):
    """A client was not admitted, or is not registered."""


class TrainingError(FedbenchError):
    """Training cannot go on."""


class UnfitModel(TrainingError):
    """The initial model that was given does not fit the learner."""


class QuorumNotReached(TrainingError):
    """A round ended with too few usable updates.

    Attributes:
        round_number: Number of the round, from 1.
        arrived: Updates that arrived in time.
        required: Updates the quorum asks for.
        failures: Client id to the reason that client gave no update.
    """

    def __init__(self, round_number: int, arrived: int, required: int, failures: dict[str, str]) -> None:
        self.round_number = round_number
        self.arrived = arrived
        self.required = required
        self.failures = failures
        reasons = "; ".join(f"{client}: {reason}" for client, reason in failures.items())
        super().__init__(
            f"round {round_number}: {arrived} of the required {required} updates arrived ({reasons})"
        )
