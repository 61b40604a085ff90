"""Workloads of calls that carry models: one there and back, and those of all clients at once."""

from __future__ import annotations

import asyncio
import statistics
import time
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fedbench.tensors.model import ModelState
from harness.records.derive import Outcome, of_the_window
from harness.stacks.base import FederationSpec, Stack
from harness.stats.histogram import Histogram
from harness.workloads.barrier import barrier
from harness.workloads.base import LEARNERS, SETUP_S, Session, Workload, running
from harness.workloads.beside import against_floor
from harness.workloads.beside_process import open_transfers, transfers_s
from harness.workloads.learners import burst_value
from harness.workloads.repeating import Once, repeated

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.stacks.floors_process import Timed

MAKING_WITHIN = "its window holds the making of the models, too"
WAYS = 2
"""A payload goes to the client and comes back."""


class RpcPayload(Workload):
    """Calls with a model that comes back, one at a time, to every client in turn. Latency: call to model.

    Each call carries another model. ``payload_bytes_per_s`` counts its bytes both ways. The ``floor``, if it
    names one, is timed before each call, once for each way: a copy of the bytes (``memcpy``), or with one
    client raw TCP (``tcp``). The ``warmup`` comes before anything is measured.
    """

    kind = "rpc_payload"
    defaults: ClassVar[Mapping[str, Any]] = {
        "clients": 1,
        "model_bytes": 1 << 20,
        "operations": 20,
        "duration_s": 1.0,
        "warmup": 2,
        "floor": "",
    }

    def expected_s(self, *, poll_s: float) -> float:
        """Return the longest it runs with a poller; without, what models and floor take until then."""
        duration_s, model_bytes = float(self.params["duration_s"]), self.params["model_bytes"]
        times = self.params["warmup"] + self.params["operations"]
        floor_s = WAYS * transfers_s(self.params["floor"], model_bytes, self.params["clients"], times)
        if poll_s:
            return SETUP_S + duration_s + floor_s
        call_s = 300e-6 + 5e-9 * model_bytes
        return SETUP_S + float(min(times * call_s + floor_s, duration_s + 2 * call_s + floor_s / times))

    async def run(self, stack: Stack, session: Session) -> Outcome:
        """Call until the operations or the duration are used up; each model must come back as it went."""
        clients, model_bytes = self.params["clients"], self.params["model_bytes"]
        ways = [open_transfers(self.params["floor"], model_bytes, clients, up=up) for up in (False, True)]
        spec = FederationSpec(
            clients, f"{LEARNERS}:BouncingLearner", {"model_bytes": model_bytes}, methods=("bounce",)
        )
        wrong: list[str] = []
        async with running(stack, spec), AsyncExitStack() as floors:
            down, up = [await floors.enter_async_context(way) for way in ways]
            once = partial(self._call, stack, down, up, wrong)
            done = await repeated(once, self.params, session.measured())
        values = against_floor(done.floor_ns, done.latency, done.reference_ns)
        values["payload_bytes_per_s"] = WAYS * model_bytes / (done.latency.percentile(0.5) / 1e9)
        return Outcome(
            operations=done.latency.count,
            clients=clients,
            histograms={"latency": done.latency.to_dict()},
            values=values,
            missing=of_the_window(MAKING_WITHIN),
            wrong=wrong,
        )

    async def _call(self, stack: Stack, down: Timed, up: Timed, wrong: list[str], number: int) -> Once:
        model_bytes = self.params["model_bytes"]
        model = _filled(number, model_bytes, number)
        beside_ns = [there + back for there, back in zip(await down(1), await up(1), strict=True)]
        start_ns = time.perf_counter_ns()
        answer = await stack.ask(number % self.params["clients"], "bounce", model=model)
        taken_ns = time.perf_counter_ns() - start_ns
        wrong += _unlike(answer, model_bytes, number, f"call {number}")
        return Once(taken_ns, beside_ns)


class FaninBurst(Workload):
    """A model from every client to the server at the same moment, again and again.

    The clients wait for each other with their models made. Latency: from then to the last model in the
    server's hands. ``spread_p50_s`` is from the first to the last. Memory is sampled while the server holds
    all models of a burst. The ``warmup`` comes before anything is measured.
    """

    kind = "fanin_burst"
    defaults: ClassVar[Mapping[str, Any]] = {
        "clients": 20,
        "model_bytes": 1 << 16,
        "operations": 20,
        "duration_s": 1.0,
        "warmup": 2,
        "deadline_s": 30.0,
    }

    def expected_s(self, *, poll_s: float) -> float:
        """Return the longest it runs with a poller; without, what all models take until then."""
        duration_s = float(self.params["duration_s"])
        if poll_s:
            return SETUP_S + duration_s
        times = self.params["warmup"] + self.params["operations"]
        burst_s = self.params["clients"] * (300e-6 + 3e-9 * self.params["model_bytes"])
        return float(SETUP_S + min(times * burst_s, duration_s + burst_s))

    async def run(self, stack: Stack, session: Session) -> Outcome:
        """Burst until the operations or the duration are used up, or a model was lost or is not the one sent.

        A client that fails keeps the others waiting at the barrier until their deadline.
        """
        clients, model_bytes = self.params["clients"], self.params["model_bytes"]
        released_ns = 0

        async def release() -> None:
            nonlocal released_ns
            released_ns = time.perf_counter_ns()

        completion, spreads_ns = Histogram(), []
        wrong: list[str] = []
        async with barrier(clients, release) as folder:
            spec = FederationSpec(
                clients,
                f"{LEARNERS}:BurstLearner",
                {"model_bytes": model_bytes, "barrier": folder},
                methods=("burst",),
            )
            async with running(stack, spec):
                end_ns = time.perf_counter_ns() + int(self.params["duration_s"] * 1e9)
                burst = 0
                while not wrong and burst < self.params["warmup"] and time.perf_counter_ns() <= end_ns:
                    burst += 1
                    _, missed = await self._burst(stack, burst, None)
                    wrong += missed
                async with session.measured(memory=True):
                    while not wrong and completion.count < self.params["operations"]:
                        burst += 1
                        came_ns, missed = await self._burst(stack, burst, session)
                        wrong += missed
                        if came_ns:
                            completion.record(max(max(came_ns) - released_ns, 0))
                            spreads_ns.append(max(came_ns) - min(came_ns))
                        if time.perf_counter_ns() > end_ns:
                            break
        values = {"clients": float(clients - len(wrong))}
        if completion.count:
            values["spread_p50_s"] = statistics.median(spreads_ns) / 1e9
            values["payload_bytes_per_s"] = clients * model_bytes / (completion.percentile(0.5) / 1e9)
        return Outcome(
            operations=completion.count,
            clients=clients,
            histograms={"latency": completion.to_dict()},
            values=values,
            missing=of_the_window(MAKING_WITHIN),
            wrong=wrong,
        )

    async def _burst(self, stack: Stack, burst: int, session: Session | None) -> tuple[list[int], list[str]]:
        """Return when each model that arrived did, and a line for each client whose model did not.

        With a ``session``, memory is sampled while the models are held.
        """
        clients, came_ns = self.params["clients"], []

        async def fetch(client: int) -> Any:
            model = await stack.ask(client, "burst", deadline_s=self.params["deadline_s"])
            came_ns.append(time.perf_counter_ns())
            return model

        models = await asyncio.gather(*map(fetch, range(clients)), return_exceptions=True)
        if session is not None:
            await session.sample_memory()
        missed = []
        for client, model in enumerate(models):
            value = burst_value(burst, client, clients)
            missed += _unlike(model, self.params["model_bytes"], value, f"burst {burst} of client {client}")
        return came_ns, missed


def _filled(value: int, model_bytes: int, version: int) -> ModelState:
    return ModelState.from_arrays({"values": np.full(max(model_bytes // 4, 1), value, np.float32)}, version)


def _unlike(model: Any, model_bytes: int, value: int, what: str) -> list[str]:
    """Return a line if what came is no model of that size with that value everywhere."""
    if not isinstance(model, ModelState):
        return [f"{what} brought {type(model).__name__}: {model}"]
    values = model["values"]
    found = (values.nbytes, float(values.min()), float(values.max()))
    if found == (max(model_bytes // 4, 1) * 4, value, value):
        return []
    return [f"{what} brought {found[0]} bytes from {found[1]:g} to {found[2]:g}, not {value}"]
