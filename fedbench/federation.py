"""Federation: a whole federation from one configuration. The composition root."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Protocol

from fedbench.config import ClientConfig, ComponentConfig, FederationConfig, from_mapping, load
from fedbench.errors import FedbenchError, LocalProtocolError, TrainingError, UnfitModel
from fedbench.ids import current_node
from fedbench.learning.dispatch import LearnerDispatcher, check_methods
from fedbench.learning.learner import Learner, resolve_learner
from fedbench.learning.trainer import FedAvgTrainer
from fedbench.loop import in_thread
from fedbench.polling.nodes import PollingNodes
from fedbench.push import PushNodes
from fedbench.tensors import segments
from fedbench.tensors.shared import SharedStore
from fedbench.tensors.store import HeapStore, TensorStore
from fedbench.values import ClientInfo, History, RoundRecord

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from fedbench.learning.collection import RemoteLearner
    from fedbench.learning.dispatch import Answer
    from fedbench.tensors.model import ModelState

log = logging.getLogger("fedbench.federation")


class Nodes(Protocol):
    """What both architectures offer the federation."""

    async def start(self) -> None:
        """Bring every node up and register the clients."""
        ...

    async def stop(self) -> None:
        """Take every node down; idempotent."""
        ...

    def learners(self) -> Sequence[RemoteLearner]:
        """Return the registered clients in the order of the configuration."""
        ...

    def hold(self, model: ModelState) -> None:
        """Make a model the global one without handing it to anybody."""
        ...

    async def broadcast(
        self, model: ModelState, *, deadline_s: float | None = None
    ) -> dict[str, Exception | None]:
        """Make a model the global one and hand it to every client."""
        ...

    def publish(
        self, model: ModelState, *, deadline_s: float | None = None
    ) -> Awaitable[dict[str, Exception | None]]:
        """Do as :meth:`broadcast`, but leave it to calls with the model that begin before it is awaited."""
        ...

    def on_notify(self, handler: Callable[[str, Any], Awaitable[None] | None]) -> None:
        """Call ``handler(event_type, data)`` with every notification from a client, from now on."""
        ...

    def lose(self, client_id: str) -> None:
        """End a client as a crash would."""
        ...


class Federation:
    """A server, its clients and the training they do together.

    One event loop; start it once. ``async with Federation.from_yaml(path) as federation`` starts and stops
    it; :meth:`run` does so itself where nobody has.

    Args:
        config: The configuration.
        by_hand: In network mode: start no clients, they join by hand (``fedbench join``); called with a line
            for people on what happens meanwhile.

    Attributes:
        config: As given.
        nodes: The nodes of its architecture.
        store: Where the server's models lie; in memory mode the clients' too.
        learner_instances: The clients' learners in memory mode; in other modes they live elsewhere.
        global_model: The newest global model, None before training.

    Raises:
        ValueError: A learner's type or arguments are wrong.
    """

    def __init__(self, config: FederationConfig, *, by_hand: Callable[[str], None] | None = None) -> None:
        self.config = config
        self.global_model: ModelState | None = None
        server, clients = config.server, config.clients
        self._server_learner = _dispatcher(clients[0].learner, self._info(server.server_id, -1))
        shared = config.store == "shared" and config.architecture == "push"  # polling sends copies anyway
        self.store: TensorStore = SharedStore() if shared else HeapStore()
        dispatchers: list[LearnerDispatcher] = []
        if config.mode == "memory":
            dispatchers = [
                _dispatcher(client.learner, self._info(client.client_id, index), client.allowed_methods)
                for index, client in enumerate(clients)
            ]
        self._by_hand = by_hand
        self.nodes = self._nodes(dispatchers)
        self.learner_instances: tuple[Learner, ...] = tuple(dispatcher.learner for dispatcher in dispatchers)
        self._trainer = FedAvgTrainer(**server.trainer.args)
        self._publishing: set[asyncio.Task[Any]] = set()
        self._state = "new"

    @classmethod
    def from_yaml(cls, path: str | Path, *, by_hand: Callable[[str], None] | None = None) -> Federation:
        """Make a federation from a YAML file; ``by_hand`` as for the class.

        Raises:
            ConfigError: With every problem of the file and its path.
        """
        return cls(load(path, check_learner=_check_learner), by_hand=by_hand)

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any], source: str = "config") -> Federation:
        """Make a federation from plain data; ``source`` names it in errors.

        Raises:
            ConfigError: With every problem and its path.
        """
        return cls(from_mapping(mapping, source=source, check_learner=_check_learner))

    async def __aenter__(self) -> Federation:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Bring every node up and register the clients.

        Raises:
            FedbenchError: It was started before: make a new federation instead.
        """
        if self._state != "new":
            raise FedbenchError(f"this federation is {self._state}: make a new one")
        self._state = "running"
        try:
            await self.nodes.start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Take every node down and wait until the learners have ended; idempotent."""
        self._state = "stopped"
        await self.nodes.stop()
        await self._server_learner.close()
        self.store.close()

    def learners(self) -> Sequence[RemoteLearner]:
        """Return the registered clients in the order of the configuration."""
        return self.nodes.learners()

    def on_notify(self, handler: Callable[[str, Any], Awaitable[None] | None]) -> None:
        """Call ``handler(event_type, data)`` with every notification from a client (``notify_server``).

        A polling server looks for them at its interval from then on. Call it once the federation runs.
        """
        self.nodes.on_notify(handler)

    async def broadcast(self, model: ModelState) -> dict[str, Exception | None]:
        """Make ``model`` the global one and hand it to every client.

        A client that does not apply it leaves a WARNING; the others get it all the same.

        Returns:
            Client id to None, or to why it did not apply the model.

        Raises:
            LocalProtocolError: There is a global model and ``model`` is not newer: clients would drop it.
            TensorStoreFull: There is no room for it; nobody was sent anything.
        """
        held = self.global_model
        if held is not None and model.version <= held.version:
            raise LocalProtocolError(
                f"model version {model.version} is not newer than the global model's, {held.version}: "
                "clients would drop it; give it a higher version"
            )
        self.global_model = await self._place(model)
        handing_out = self.nodes.broadcast(self.global_model, deadline_s=self._trainer.deadline_s)
        return await self._hand_out(handing_out, model.version)

    async def _hand_out(
        self, outcomes: Awaitable[dict[str, Exception | None]], version: int
    ) -> dict[str, Exception | None]:
        """Wait until a model is handed out and warn of those who did not apply it."""
        told = await outcomes
        for client_id, error in told.items():
            if error is not None:
                # Its text only: the error itself holds the frames it passed, and they the model.
                log.warning("%s did not apply model version %d: %s", client_id, version, str(error))
        return told

    async def run(
        self,
        *,
        on_round: Callable[[RoundRecord], None] | None = None,
        initial_model: ModelState | None = None,
    ) -> History:
        """Train all rounds and return what came of them. May be called again: model versions go on.

        Args:
            on_round: Called with the record of every round as it ends.
            initial_model: Start from this model; by default from the learner's own.

        Raises:
            FedbenchError: The federation was stopped.
            UnfitModel: The initial model does not fit the learner.
            TrainingError: A round missed its quorum, or the server's learner raised.
        """
        if self._state == "stopped":
            raise FedbenchError("this federation is stopped: make a new one")
        if self._state == "new":
            async with self:
                return await self.run(on_round=on_round, initial_model=initial_model)
        token = current_node.set(self.config.server.server_id)
        try:
            model = await self._initial(initial_model)
            if self.global_model is not None and model.version < self.global_model.version:
                model = model.with_version(self.global_model.version)
            if self.global_model is None:
                await self._check_room(model)
            model = await self._place(model)
            self.global_model = model
            self.nodes.hold(model)
            history = await self._trainer.train(
                self.learners,
                model,
                count=len(self.config.clients),
                seed=self.config.seed,
                evaluate=self._evaluate,
                publish=self._publish,
                on_round=on_round,
            )
            await asyncio.gather(*self._publishing)
            return history
        finally:
            for task in self._publishing:
                task.cancel()
            await asyncio.gather(*self._publishing, return_exceptions=True)
            self._publishing.clear()
            current_node.reset(token)

    async def _publish(self, model: ModelState) -> dict[str, Exception | None]:
        """Hand out the model of a round without waiting until it is applied.

        The next round's calls bring it, or arrive behind it: connections keep order. :meth:`run` waits for
        the rest at its end.
        """
        self.global_model = await self._place(model)
        handing_out = self.nodes.publish(self.global_model, deadline_s=self._trainer.deadline_s)
        task = asyncio.create_task(self._hand_out(handing_out, model.version))
        self._publishing.add(task)
        task.add_done_callback(self._published)
        return {}

    def _published(self, task: asyncio.Task[Any]) -> None:
        """Forget a task that ended well; one that failed is raised by :meth:`run`."""
        if not task.cancelled() and task.exception() is None:
            self._publishing.discard(task)

    def _nodes(self, dispatchers: Sequence[LearnerDispatcher]) -> Nodes:
        config = self.config
        if config.mode == "memory":
            return (PushNodes if config.architecture == "push" else PollingNodes)(config, dispatchers)
        # What one mode alone needs is imported when it is needed: importing fedbench stays cheap.
        if config.mode == "network" and config.architecture == "polling":
            from fedbench.polling.networks import PollingNetworkNodes

            return PollingNetworkNodes(config)
        if config.mode == "network":
            from fedbench.networks import NetworkNodes

            return NetworkNodes(config, self._by_hand)
        if config.architecture == "polling":
            from fedbench.polling.processes import PollingProcessNodes

            return PollingProcessNodes(config)
        from fedbench.processes import ProcessNodes

        assert isinstance(self.store, SharedStore)  # the configuration allows no other
        return ProcessNodes(config, self.store)

    async def _place(self, model: ModelState) -> ModelState:
        """Return the model in the server's store: copied once, by a thread, unless it lies there."""
        if self.store.holds(model):
            return model
        return await in_thread(self.store.adopt, model)

    def _info(self, node_id: str, index: int) -> ClientInfo:
        return ClientInfo(node_id, index, len(self.config.clients), self.config.seed)

    async def _check_room(self, model: ModelState) -> None:
        """Warn if shared memory may be too small for two global models and every client's update."""
        if isinstance(self.store, SharedStore):
            updates = len(self.config.clients) if self.config.mode == "process" else 0
            problem = await in_thread(segments.shortage, model.nbytes * (2 + updates))
            if problem is not None:
                log.warning("%s", problem)

    async def _initial(self, given: ModelState | None) -> ModelState:
        _, own = await self._ask_own("initial_model", {"args": [], "kwargs": {}}, None)
        if own is None:
            raise TrainingError(f"{self._own_name('initial_model')} returned no ModelState")
        if given is not None and given.layout != own.layout:
            raise UnfitModel(f"the initial model holds {_shapes(given)}, the learner needs {_shapes(own)}")
        return own if given is None else given

    async def _evaluate(self, model: ModelState) -> dict[str, float]:
        metrics, _ = await self._ask_own("evaluate", None, model)
        result: dict[str, float] = metrics
        return result

    async def _ask_own(self, method: str, body: Any, model: ModelState | None) -> Answer:
        """Call the server's learner; what it raises becomes an error that names it."""
        try:
            return await self._server_learner.call(method, body, model)
        except FedbenchError:
            raise
        except Exception as error:
            raised = f"{self._own_name(method)} raised {type(error).__name__}: {error}"
            raise TrainingError(raised) from error

    def _own_name(self, method: str) -> str:
        return f"{type(self._server_learner.learner).__qualname__}.{method}"


def _dispatcher(
    component: ComponentConfig, info: ClientInfo, allowed: tuple[str, ...] | None = None
) -> LearnerDispatcher:
    learner = resolve_learner(component.type)(info, **component.args)
    methods = ("initial_model", "evaluate") if info.index < 0 else allowed
    return LearnerDispatcher(learner, info.id, methods)


def _check_learner(client: ClientConfig) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a client's learner: its type, its arguments, the methods it allows.

    The arguments are tried on a learner that is thrown away, as if it were the only client.
    """
    try:
        learner = resolve_learner(client.learner.type)
    except ValueError as error:
        yield "learner.type", str(error)
        return
    try:
        learner(ClientInfo(client.client_id or "client", 0, 1, 0), **client.learner.args)
    except Exception as error:  # whatever a user's learner raises while it is made
        yield "learner.args", f"do not fit {client.learner.type}: {type(error).__name__}: {error}"
    try:
        check_methods(learner, client.allowed_methods or ())
    except ValueError as error:
        yield "rpc.allowed_methods", str(error)


def _shapes(model: ModelState) -> str:
    return ", ".join(f"{spec.name} {spec.shape} {spec.dtype}" for spec in model.layout.specs)
