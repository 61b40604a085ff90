"""The two lanes of a connection: messages numbered on the way out, the numbers checked on the way in.

A medium that cannot lose or repeat anything while both ends live needs neither: its messages keep number 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from msgspec.structs import force_setattr

from fedbench.errors import LocalProtocolError, RemoteProtocolError
from fedbench.messages import Channel, Message

if TYPE_CHECKING:
    from fedbench.transport.connection import Connection
    from fedbench.transport.receipt import Receipt


class Lane:
    """One lane of a connection. FIFO; the numbers start at 1 in every epoch."""

    channel: ClassVar[Channel]

    __slots__ = ("_connection", "_received", "_sent")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sent = 0
        self._received = 0

    def send(self, message: Message) -> Receipt:
        """Number ``message`` and send it. A message that is refused takes no number.

        Raises:
            LocalProtocolError: The message belongs on the other lane, or was sent before.
            TransportError: As for :meth:`Connection.send`.
        """
        if message.kind.channel is not self.channel:
            raise LocalProtocolError(
                f"a {message.kind.value} does not travel on the {self.channel.value} channel"
            )
        if message.seq:
            raise LocalProtocolError(f"this {message.kind.value} was sent before: make a new message")
        self._sent += 1
        force_setattr(message, "seq", self._sent)
        force_setattr(message, "epoch", self._connection.epoch)
        try:
            return self._connection.send(message)
        except BaseException:
            self._sent -= 1
            force_setattr(message, "seq", 0)
            raise

    def accept(self, message: Message) -> None:
        """Check the number of an inbound message.

        Raises:
            RemoteProtocolError: It is not the next one of this epoch: the medium lost or repeated something.
        """
        if message.seq != self._received + 1 or message.epoch != self._connection.epoch:
            raise RemoteProtocolError(
                f"{message.source} sent {message.kind.value} {message.epoch}.{message.seq}, expected "
                f"{self._connection.epoch}.{self._received + 1}"
            )
        self._received += 1


class BusinessChannel(Lane):
    """The lane of calls, models and notifications."""

    channel = Channel.BUSINESS
    __slots__ = ()


class ControlChannel(Lane):
    """The lane of registration, liveness and status; it overtakes the other."""

    channel = Channel.CONTROL
    __slots__ = ()
