"""The two architectures of this project, each as a stack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fedbench.config import from_mapping
from fedbench.federation import Federation
from fedbench.learning.dispatch import DEFAULT_METHODS
from fedbench.loop import in_thread
from fedbench.messages import Kind
from fedbench.polling.proxy import PollingProxy
from fedbench.rpc.proxy import LearnerProxy
from harness.stacks.base import ASK_DEADLINE_S, FederationSpec, Unsupported
from harness.stacks.link import Link, LinkProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fedbench.config import FederationConfig
    from fedbench.tensors.model import ModelState
    from fedbench.values import History, RoundRecord


class FederationStack:
    """A federation under one architecture.

    Args:
        name: ``push`` or ``polling``.
        mode: How its nodes are joined.
        settings: In network mode ``link_delay_s`` and ``link_loss``: a link of the harness before the
            server. All others are settings of the polling architecture (``poll_interval_s`` …).

    Raises:
        ValueError: Settings for an architecture or a mode that has none, or one that is out of its range.
    """

    def __init__(self, name: str, mode: str, settings: Mapping[str, Any]) -> None:
        self.name = name
        self._mode = mode
        self._settings = dict(settings)
        self._own_link = _link(self._settings) if mode == "network" else None
        if self._settings and name != "polling":
            raise ValueError(f"the stack {name!r} has no settings, found {', '.join(self._settings)}")
        self._link: LinkProcess | None = None
        self._federation: Federation | None = None
        self._proxies: list[LearnerProxy | PollingProxy] = []

    async def start(self, spec: FederationSpec) -> None:
        """Bring a federation up and register its clients.

        Raises:
            ConfigError: The specification or the settings are wrong.
            Unsupported: Clients are to share processes, and cannot.
        """
        self._federation = self._made(spec)
        try:
            await self._federation.start()
        except BaseException:
            await self.stop()
            raise
        for proxy in self._federation.learners():
            assert isinstance(proxy, LearnerProxy | PollingProxy)
            self._proxies.append(proxy)

    def check(self) -> None:
        """Raise ConfigError if the mode or the settings are wrong."""
        Federation.from_mapping(self._mapping(FederationSpec(1, "SimpleLearner")), source=self.name)

    async def stop(self) -> None:
        """Take it down; idempotent."""
        if self._federation is not None:
            federation, self._federation = self._federation, None
            self._proxies.clear()
            await federation.stop()
        if self._link is not None:
            link, self._link = self._link, None
            await link.stop()

    async def ask(
        self, client: int, method: str, *, model: ModelState | None = None, deadline_s: float = ASK_DEADLINE_S
    ) -> Any:
        """Return what a method of a client's learner returns, plain data or a model.

        It is called after all that the client was sent before.

        Raises:
            DeadlineExceeded: No answer came in time.
            RemoteError: The method raised.
        """
        proxy = self._proxy(client)
        if isinstance(proxy, LearnerProxy):
            return await proxy.call_remote_method(method, model=model, deadline_s=deadline_s)
        call: dict[str, Any] = {"args": [], "kwargs": {}}
        answer = await proxy.call(Kind.RPC_REQUEST, method, call, model, deadline_s)
        return answer.body if answer.tensors is None else answer.tensors

    async def ping(self, client: int, payload: Any, *, deadline_s: float) -> Any:
        """Return ``payload`` after a round trip to a client."""
        return await self._proxy(client).ping(payload, deadline_s=deadline_s)

    def notify(self, client: int, data: Any, *, intended_ns: int) -> None:
        """Hand plain data to a client's ``on_event``; do not wait."""
        proxy = self._proxy(client)
        if isinstance(proxy, LearnerProxy):
            proxy.notify("bench", data, intended_ns=intended_ns)
        else:
            proxy.notify("bench", data)

    def on_notify(self, handler: Callable[[str, Any], None]) -> None:
        """Call ``handler(event_type, data)`` on the server's side with every notification from a client."""
        self._running.on_notify(handler)

    async def place(self, model: ModelState) -> ModelState:
        """Return a model where the server's models lie."""
        return await in_thread(self._running.store.adopt, model)

    async def broadcast(self, model: ModelState) -> dict[str, Exception | None]:
        """Hand a model to every client and wait until each has applied it."""
        return await self._running.broadcast(model)

    async def run(
        self,
        *,
        on_round: Callable[[RoundRecord], None] | None = None,
        initial_model: ModelState | None = None,
    ) -> History:
        """Train all rounds."""
        return await self._running.run(on_round=on_round, initial_model=initial_model)

    def lose(self, client: int) -> None:
        """End a client as a crash would."""
        self._running.nodes.lose(self._proxy(client).client_id)

    async def cut(self, for_s: float) -> int:
        """Cut the link of every client for so many seconds; return how many connections that ended.

        Raises:
            Unsupported: There is no link, or a cut would end the clients.
        """
        if self._link is None:
            raise Unsupported(f"{self.name} has no link that could be cut: give its specification one")
        if self.name == "polling":
            raise Unsupported("a polling client ends when its server cannot be reached")
        return await self._link.cut(for_s)

    async def floor(self, operation: str, count: int) -> list[int]:
        """Floors are another stack's.

        Raises:
            Unsupported: Always.
        """
        raise Unsupported(f"{self.name} has no floor {operation!r}: use the stack 'floors'")

    @property
    def _running(self) -> Federation:
        if self._federation is None:
            raise Unsupported(f"{self.name} is not running")
        return self._federation

    def _proxy(self, client: int) -> LearnerProxy | PollingProxy:
        if not self._proxies:
            raise Unsupported(f"{self.name} is not running")
        return self._proxies[client]

    def _made(self, spec: FederationSpec) -> Federation:
        mapping, source = self._mapping(spec), f"stack {self.name}"
        link = spec.link or self._own_link
        if link is not None:
            return self._made_behind(link, from_mapping(mapping, source=source), spec.per_process)
        if spec.per_process == 1:
            return Federation.from_mapping(mapping, source=source)
        if (self.name, self._mode) != ("push", "network"):
            raise Unsupported(
                f"clients share processes under push by network only, not under {self.name} by {self._mode}"
            )
        from harness.stacks.crowd import CrowdedFederation  # only for those who ask: aiohttp takes memory

        return CrowdedFederation(from_mapping(mapping, source=source), spec.per_process)

    def _made_behind(self, link: Link, config: FederationConfig, per_process: int) -> Federation:
        if self._mode != "network":
            raise Unsupported(f"there is no link to put anything on in {self._mode} mode: use network mode")
        from harness.stacks.linked import linked  # only for those who ask: aiohttp takes memory

        self._link = LinkProcess(link)
        return linked(config, self._link, per_process)

    def _mapping(self, spec: FederationSpec) -> dict[str, Any]:
        return {
            "seed": spec.seed,
            "mode": self._mode,
            "architecture": self.name,
            "server": {
                "trainer": {"args": dict(spec.trainer_args)},
                **({"transport": {"heartbeat_s": spec.heartbeat_s}} if spec.heartbeat_s else {}),
            },
            "clients": {
                "count": spec.clients,
                "learner": {"type": spec.learner, "args": dict(spec.learner_args)},
                "rpc": {"allowed_methods": [*DEFAULT_METHODS, *spec.methods]},
            },
            "polling": self._polling(),
        }

    def _polling(self) -> dict[str, Any]:
        """Return the settings; a receive looks for at least as long as one interval."""
        settings = dict(self._settings)
        interval_s = settings.get("poll_interval_s")
        if isinstance(interval_s, int | float) and "receive_timeout_s" not in settings:
            settings["receive_timeout_s"] = max(0.010, float(interval_s))
        return settings


def _link(settings: dict[str, Any]) -> Link | None:
    """Take the settings of a link out of others; return it, None where there are none.

    Raises:
        ValueError: One is no number, or out of its range.
    """
    given = {
        key.removeprefix("link_"): settings.pop(key)
        for key in ("link_delay_s", "link_loss")
        if key in settings
    }
    for key, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"link_{key} is {value!r}: a number is needed")
    return Link(**given) if given else None
