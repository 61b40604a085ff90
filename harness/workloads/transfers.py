"""Workloads of single models: from the server to its clients, and from a client to the server."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fedbench.tensors.model import ModelState
from harness.records.derive import Outcome, of_the_window
from harness.stacks.base import FederationSpec, Stack
from harness.workloads.base import CROWD_CLIENT_S, LEARNERS, SETUP_S, Session, Workload, failures, running
from harness.workloads.beside import against_floor, floor_cpu_s, spoilt_by
from harness.workloads.beside_process import open_transfers, transfers_s
from harness.workloads.repeating import Once, Repeated, repeated

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.stacks.floors_process import Timed


class Broadcast(Workload):
    """A model to every client, again and again. Latency: call to the last acknowledgement.

    If ``watched``, every client reads the model's first and last value before it acknowledges. Otherwise it
    keeps the model and no code of a learner runs, as nobody looks at what a bare floor sends; each client is
    asked at the end for the model that it holds. With ``in_place`` the model lies where the server keeps its
    models before the time is taken; otherwise it is on the heap. The ``floor``, if it names one, is timed
    before each broadcast. The ``warmup`` comes before anything is measured.
    """

    kind = "broadcast"
    defaults: ClassVar[Mapping[str, Any]] = {
        "clients": 20,
        "per_process": 1,
        "model_bytes": 1 << 20,
        "operations": 20,
        "duration_s": 1.0,
        "warmup": 0,
        "in_place": False,
        "watched": True,
        "floor": "",
    }

    def expected_s(self, *, poll_s: float) -> float:
        """Return the longest it runs with a poller; without, what start, broadcasts and floor take."""
        if poll_s:
            return SETUP_S + float(self.params["duration_s"])
        clients, model_bytes = self.params["clients"], self.params["model_bytes"]
        times = self.params["warmup"] + self.params["operations"]
        crowd = self.params["per_process"] > 1
        broadcast_s = (150e-6 if crowd else 20e-6) * clients + 1e-9 * model_bytes
        start_s = SETUP_S + (CROWD_CLIENT_S * clients if crowd else 0.0)
        floor_s = transfers_s(self.params["floor"], model_bytes, clients, times)
        return float(start_s + times * broadcast_s + floor_s)

    async def run(self, stack: Stack, session: Session) -> Outcome:
        """Broadcast until the operations or the duration are used up; every client must apply each once."""
        clients, model_bytes = self.params["clients"], self.params["model_bytes"]
        floor = open_transfers(self.params["floor"], model_bytes, clients)
        watched = self.params["watched"]
        spec = FederationSpec(
            clients,
            f"{LEARNERS}:{'WatchingLearner' if watched else 'EchoLearner'}",
            {"model_bytes": model_bytes},
            methods=("applied",) if watched else (),
            per_process=self.params["per_process"],
        )
        wrong: list[str] = []
        async with running(stack, spec), floor as transfers:
            once = partial(self._broadcast, stack, transfers, wrong)
            done = await repeated(once, self.params, session.measured())
            for client in range(clients):
                wrong += await (misapplied if watched else _unheld)(stack, client, done.last)
        outcome = _outcome(done, clients, spoilt_by(self.params["floor"]), wrong)
        outcome.floor_cpu_s = floor_cpu_s(self.params["floor"], done.floor_ns)
        return outcome

    async def _broadcast(self, stack: Stack, transfers: Timed, wrong: list[str], version: int) -> Once:
        values = np.full(self.params["model_bytes"] // 4, version, np.float32)
        model = ModelState.from_arrays({"values": values}, version)
        if self.params["in_place"]:
            model = await stack.place(model)
        beside_ns = await transfers(1)
        start_ns = time.perf_counter_ns()
        outcomes = await stack.broadcast(model)
        taken_ns = time.perf_counter_ns() - start_ns
        wrong += failures(outcomes)
        return Once(taken_ns, beside_ns)


class Fetch(Workload):
    """A model from one client, again and again. Latency: call to the model in the server's hands.

    The client has made the model before it is asked for, another one each time. The ``floor``, if it names
    one, is timed before each call. The ``warmup`` comes before anything is measured.
    """

    kind = "fetch"
    defaults: ClassVar[Mapping[str, Any]] = {
        "model_bytes": 1 << 20,
        "operations": 20,
        "duration_s": 1.0,
        "warmup": 0,
        "floor": "",
    }

    def expected_s(self, *, poll_s: float) -> float:
        """Return the longest it runs with a poller, and without what making and moving the models takes."""
        if poll_s:
            return SETUP_S + float(self.params["duration_s"])
        model_bytes, times = self.params["model_bytes"], self.params["warmup"] + self.params["operations"]
        floor_s = transfers_s(self.params["floor"], model_bytes, 1, times)
        return float(SETUP_S + times * (200e-6 + 2e-9 * model_bytes) + floor_s)

    async def run(self, stack: Stack, session: Session) -> Outcome:
        """Fetch until the operations or the duration are used up; each must be the model made for it."""
        model_bytes = self.params["model_bytes"]
        floor = open_transfers(self.params["floor"], model_bytes, 1, up=True)
        spec = FederationSpec(
            1, f"{LEARNERS}:HoldingLearner", {"model_bytes": model_bytes}, methods=("make", "held")
        )
        wrong: list[str] = []
        async with running(stack, spec), floor as transfers:
            once = partial(self._fetch, stack, transfers, wrong)
            done = await repeated(once, self.params, session.measured())
        missing = of_the_window("its window holds the making of the models, too")
        return _outcome(done, 1, missing, wrong)

    async def _fetch(self, stack: Stack, transfers: Timed, wrong: list[str], number: int) -> Once:
        await stack.ask(0, "make")
        beside_ns = await transfers(1)
        start_ns = time.perf_counter_ns()
        model = await stack.ask(0, "held")
        taken_ns = time.perf_counter_ns() - start_ns
        wrong += _unlike(model, self.params["model_bytes"], number)
        return Once(taken_ns, beside_ns)


async def misapplied(stack: Stack, client: int, last: int) -> list[str]:
    """Return what tells the models that a client has looked at from versions 1 to ``last``."""
    versions = list(range(1, last + 1))
    found = await stack.ask(client, "applied")
    if found == {"versions": versions, "ends": [[v, v] for v in versions]}:
        return []
    return [f"client {client} applied {found}"]


async def _unheld(stack: Stack, client: int, last: int) -> list[str]:
    """Return what tells the model that a client holds from version ``last``."""
    model = await stack.ask(client, "get_model")
    values = model["values"]
    if (model.version, values[0], values[-1]) == (last, last, last):
        return []
    return [f"client {client} holds version {model.version} from {values[0]} to {values[-1]}, not {last}"]


def _unlike(model: ModelState, model_bytes: int, number: int) -> list[str]:
    """Return what tells a model from the ``number``-th that was to be made."""
    values = model["values"]
    found = (model.nbytes, values[0], values[-1])
    if found == (model_bytes, number, number):
        return []
    return [f"model {number} came with {found[0]} bytes from {found[1]} to {found[2]}"]


def _outcome(done: Repeated, clients: int, missing: dict[str, str], wrong: list[str]) -> Outcome:
    return Outcome(
        operations=done.latency.count,
        clients=clients,
        histograms={"latency": done.latency.to_dict()},
        values=against_floor(done.floor_ns, done.latency, done.reference_ns),
        missing=missing,
        wrong=wrong,
    )
