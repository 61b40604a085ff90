"""Federations of network mode whose clients reach their server through a link of the harness."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedbench.federation import Federation, Nodes
from fedbench.polling.http import Address
from fedbench.polling.networks import PollingNetworkNodes
from harness.stacks.crowd import CrowdedFederation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedbench.config import FederationConfig
    from fedbench.learning.dispatch import LearnerDispatcher
    from harness.stacks.link import LinkProcess


def linked(config: FederationConfig, link: LinkProcess, per_process: int) -> Federation:
    """Return a federation in network mode, of either architecture, with ``link`` before its server's port."""
    if config.architecture == "polling":
        return _LinkedPolling(config, link)
    return CrowdedFederation(config, per_process, link.reach)


class _LinkedPolling(Federation):
    def __init__(self, config: FederationConfig, link: LinkProcess) -> None:
        self._link = link
        super().__init__(config)

    def _nodes(self, dispatchers: Sequence[LearnerDispatcher]) -> Nodes:
        return PollingNetworkNodes(self.config, self._through)

    async def _through(self, address: Address) -> Address:
        return Address(address.host, await self._link.reach(address.port))
