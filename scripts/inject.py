#!/usr/bin/env python3
"""Makes a branch with a known fault, to see that a comparison or a benchmark finds it and names it.

    scripts/inject.py --list
    scripts/inject.py NAME [--ref REF] [--branch BRANCH]

The branch (``inject-NAME`` unless told otherwise) is REF (HEAD) and one commit that edits its source; nothing
in this working tree changes. Then, for instance, ``fedbench ab HEAD inject-NAME``; or ``git worktree add
/tmp/faulty inject-NAME`` and ``./scripts/bench`` there. An edit whose place is not found exactly once fails,
so that a fault which the source has outgrown is noticed. Only git and the standard library are needed.
"""

from __future__ import annotations

import argparse
import ast
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
STUB, TRAINER = "fedbench/rpc/stub.py", "fedbench/learning/trainer.py"


class Edit(NamedTuple):
    """A place in a file, found exactly once, and what takes it."""

    file: str
    old: str
    new: str


class Fault(NamedTuple):
    """A fault.

    Attributes:
        title: What it does.
        shows: Where a comparison shows it: workload and metric, or that it fails.
        edits: How it is made.
    """

    title: str
    shows: str
    edits: tuple[Edit, ...]


_SERVE = '        method = message.method\n        try:\n            if method == "train"'
_REPLY = (
    '            self._reply(message, "", body, tensors)\n        except asyncio.CancelledError as error:\n'
)
_PUSH = "                receipt = self._push(client_id, model, event_type, now_ns)\n"
_CLIENTS = "        outcomes = Outcomes(clients)\n        now_ns = time.monotonic_ns()"
_NOTIFY = "    def _on_notify(self, message: Message) -> Awaitable[object]:\n"
_SUBSCRIBED = "            subscribers[message.source] = None\n"
_CLOSE = "        self._closed = True\n        self._deadlines.close()\n"
_COUNTS = "class LearnerStub:\n"
_COPY = "        self._copy = {name: array.copy() for name, array in model.items()}\n"
_ROUND = "            model = await collection.reduction.finish(model.version + 1)\n"


def _serving(line: str) -> Edit:
    """Return an edit that runs a line at the start of every call that a node answers."""
    return Edit(STUB, _SERVE, _SERVE.replace("        try:\n", f"        {line}\n        try:\n"))


def _ticking(seconds: float, *, each: bool) -> tuple[Edit, ...]:
    """Return edits by which a server wakes up again and again, once for all subscribers or for each."""
    first = "" if each else "if not self._ticking:\n                "
    return (
        Edit(
            STUB,
            _SUBSCRIBED,
            f"{_SUBSCRIBED}            {first}self._ticking.append(asyncio.ensure_future(self._tick()))\n",
        ),
        Edit(
            STUB,
            _NOTIFY,
            "    async def _tick(self) -> None:\n        while True:\n"
            f"            await asyncio.sleep({seconds})\n\n{_NOTIFY}",
        ),
        Edit(STUB, _CLOSE, f"{_CLOSE}        for ticking in self._ticking:\n            ticking.cancel()\n"),
        Edit(
            STUB,
            "        self._closed = False\n",
            "        self._closed = False\n        self._ticking: list[asyncio.Future[None]] = []\n",
        ),
    )


def _late(seconds: float) -> Edit:
    """Return an edit by which a notification is handled so much later."""
    return Edit(
        STUB,
        _NOTIFY,
        "    async def _on_notify(self, message: Message) -> object:\n"
        f"        await asyncio.sleep({seconds})\n"
        "        return await self._handle_notify(message)\n\n"
        + _NOTIFY.replace("_on_notify", "_handle_notify"),
    )


FAULTS: dict[str, Fault] = {
    "cpu": Fault(
        "an RPC takes about 20 % more CPU time",
        "rpc: latency_hops, cpu_floor_ratio",
        (_serving("for _ in range(190):\n            pass"),),
    ),
    "quadratic": Fault(
        "a broadcast does some work for every pair of clients",
        "growth: growth_ratio",
        (
            Edit(
                STUB,
                _PUSH,
                "                for other in clients:\n                    hash((other, client_id))\n"
                + _PUSH,
            ),
        ),
    ),
    "leak": Fault(
        "every round leaves 10 KB behind",
        "leak: leak_bytes_per_round",
        (
            Edit(TRAINER, _ROUND, f"{_ROUND}            LEFT.append(bytearray(10_240))\n"),
            Edit(TRAINER, "class FedAvgTrainer:\n", "LEFT: list[bytearray] = []\n\n\nclass FedAvgTrainer:\n"),
        ),
    ),
    "wakeup": Fault("a server wakes up once a second more", "idle: wakeups_per_s", _ticking(1.0, each=False)),
    "copy": Fault(
        "a round, and a broadcast, copies the model once more, and keeps the copy until the next",
        "leak, memory_process: model_copies",
        (
            Edit(
                TRAINER,
                "        collection = ",
                f"{_COPY}        collection = ",
            ),
            Edit(
                STUB,
                _CLIENTS,
                f"{_COPY}{_CLIENTS}",
            ),
        ),
    ),
    "log": Fault(
        "a log line for every call",
        "rpc: log_records_per_op",
        (_serving('log.info("%s calls %s", message.source, method)'),),
    ),
    "wrong": Fault(
        "one answer of 10 000 is wrong",
        "the cell rpc fails and names the call",
        (
            Edit(STUB, _COUNTS, f"ANSWERS = itertools.count(1)\n\n\n{_COUNTS}"),
            Edit(
                STUB,
                _REPLY,
                "            if next(ANSWERS) % 10_000 == 0 and isinstance(body, bytes):\n"
                f"                body = bytes(len(body))\n{_REPLY}",
            ),
            Edit(STUB, "import functools\n", "import functools\nimport itertools\n"),
        ),
    ),
    "lost": Fault(
        "one notification of 1 000 is lost",
        "the cell push fails and names the client",
        (
            Edit(STUB, _COUNTS, f"EVENTS = itertools.count(1)\n\n\n{_COUNTS}"),
            Edit(
                STUB,
                _NOTIFY,
                f"{_NOTIFY}        if next(EVENTS) % 1_000 == 0:\n            return asyncio.sleep(0)\n",
            ),
            Edit(STUB, "import functools\n", "import functools\nimport itertools\n"),
        ),
    ),
    "poll": Fault(
        "push made to poll: a server looks for each client every millisecond, and events wait for 10 ms",
        "idle: cpu_cores, wakeups_per_s; push: latency_p50_s; the promises on idle CPU and on push",
        (*_ticking(0.001, each=True), _late(0.010)),
    ),
    "delay": Fault(
        "every call and every notification takes 10 ms longer",
        "rpc: latency_hops; push: latency_p50_s; the promises on latency",
        (_serving("await asyncio.sleep(0.010)"), _late(0.010)),
    ),
}


def edited(fault: Fault, folder: Path) -> list[str]:
    """Edit the files under a folder; return their names.

    Raises:
        ValueError: A place is not there exactly once, or what came of it is no Python.
    """
    texts: dict[str, str] = {}
    for file, old, new in fault.edits:
        text = texts.setdefault(file, (folder / file).read_text())
        if text.count(old) != 1:
            raise ValueError(f"{file} holds {text.count(old)} times, not once: {old!r}")
        texts[file] = text.replace(old, new)
    for file, text in texts.items():
        ast.parse(text, file)
        (folder / file).write_text(text)
    return [*texts]


def inject(name: str, ref: str, branch: str, repository: Path = ROOT) -> str:
    """Make the branch; return its commit.

    Raises:
        ValueError: The fault does not apply to that revision.
        subprocess.CalledProcessError: Git refuses.
    """
    with tempfile.TemporaryDirectory(prefix="fedbench-inject-") as parent:
        tree = Path(parent) / "tree"
        _git(repository, "worktree", "add", "--quiet", "--detach", str(tree), ref)
        try:
            files = edited(FAULTS[name], tree)
            _git(tree, "add", *files)
            who = ("-c", "user.name=inject", "-c", "user.email=inject@example.org")
            message = f"inject: {FAULTS[name].title}"
            _git(tree, *who, "commit", "--quiet", "--no-verify", "-m", message)
            commit = _git(tree, "rev-parse", "HEAD")
            _git(repository, "branch", "--force", branch, commit)
        finally:
            _git(repository, "worktree", "remove", "--force", str(tree))
    return commit


def _git(folder: Path, *arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env=environment, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def main() -> int:
    """Make the branch that was asked for."""
    parser = argparse.ArgumentParser(description="Make a branch with a known fault.")
    parser.add_argument("name", nargs="?", choices=sorted(FAULTS), help="the fault")
    parser.add_argument("--list", action="store_true", help="list the faults, and where each shows")
    parser.add_argument("--ref", default="HEAD", help="revision to put it on")
    parser.add_argument("--branch", default="", help="name of the branch; inject-NAME unless told otherwise")
    asked = parser.parse_args()
    if asked.list or asked.name is None:
        for name, fault in FAULTS.items():
            print(f"{name:10} {fault.title} ({fault.shows})")
        return 0 if asked.list else 2
    branch = asked.branch or f"inject-{asked.name}"
    try:
        commit = inject(asked.name, asked.ref, branch)
    except ValueError as error:
        print(f"{asked.name} does not apply to {asked.ref}: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"git: {error.stderr.strip()}", file=sys.stderr)
        return 1
    print(f"{branch} is {commit[:7]}: {FAULTS[asked.name].title}")
    print(f"shows in {FAULTS[asked.name].shows}")
    print(f"next: fedbench ab {asked.ref} {branch}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
