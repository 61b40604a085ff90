"""Children for the tests of fleets, and learners for those of federations of processes."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import numpy as np

from fedbench.fleet.child import enter
from fedbench.learning.learner import Learner
from fedbench.tensors.model import ModelState
from fedbench.values import TrainResult


def child(child_id, incarnation, spec):
    """Do what ``spec`` says: exit with a code, wait, ignore SIGTERM, or fail in the first life."""
    enter(spec["server"])
    if "report" in spec:
        with open(spec["report"], "a") as file:
            file.write(f"{child_id} {incarnation} {os.getpid()}\n")
    what = spec["what"]
    if what == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if what == "once" and incarnation == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if isinstance(what, int):
        raise SystemExit(what)
    time.sleep(60)


def running(pid):
    """Return whether a process exists and is no zombie."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


class Stepper(Learner):
    """Adds its number, from 1, to the model; a plain function in the worker thread.

    Args:
        pause_s: How long training takes at least, in seconds.
        values: Number of values in the model.
    """

    def __init__(self, client, *, pause_s=0.0, values=1000):
        super().__init__(client)
        self.pause_s, self.size, self.seen = pause_s, values, []

    def initial_model(self):
        return ModelState.from_arrays({"w": np.zeros(self.size, np.float32)})

    def train(self, model, round_info):
        time.sleep(self.pause_s)
        draft = model.draft()
        np.add(model["w"], self.client.index + 1, out=draft["w"])
        return TrainResult(draft.freeze(), 1)

    def evaluate(self, model):
        return {}

    async def on_model_update(self, model, version):
        self.seen.append(version)

    async def versions(self):
        return self.seen

    async def pid(self):
        return os.getpid()

    async def wait(self):
        await asyncio.Event().wait()


class Cramped(Stepper):
    """The store of the second client has room for nothing."""

    def train(self, model, round_info):
        if self.client.index == 1:
            model.block.store._budget_bytes = 1
        return super().train(model, round_info)


class Late(Stepper):
    """Takes longer to be made in a client than anybody waits."""

    def __init__(self, client, **args):
        super().__init__(client, **args)
        if client.count > 1 and client.index >= 0:
            time.sleep(60)


class Unmakeable(Stepper):
    """Cannot be made in a client."""

    def __init__(self, client, **args):
        super().__init__(client, **args)
        if client.count > 1 and client.index == 1:
            raise RuntimeError("no such disk")
