"""What runs in the process of a client under the legacy architecture whose mail are queues."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

from fedbench.polling.child import run_client
from fedbench.polling.queues import QueueMail

if TYPE_CHECKING:
    from multiprocessing.queues import Queue

    from fedbench.polling.child import ChildSpec


class QueueClientSpec(NamedTuple):
    """What a client's process is told at its start.

    Attributes:
        child: Who it is.
        inbound: The queue from the server.
        outbound: The queue to the server.
    """

    child: ChildSpec
    inbound: Queue[Any]
    outbound: Queue[Any]


def client_main(client_id: str, incarnation: int, spec: QueueClientSpec) -> None:
    """Be a client until SIGTERM comes or the server is gone. Raises as :func:`run_client`."""
    server_id = spec.child.server_id
    queues = {(client_id, server_id): spec.inbound, (server_id, client_id): spec.outbound}
    try:
        run_client(client_id, spec.child, lambda: nullcontext(QueueMail(queues)))
    finally:
        spec.outbound.cancel_join_thread()  # whoever read it may be gone
