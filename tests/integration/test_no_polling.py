"""Nothing polls outside of ``polling/``: no loop around a sleep, a timed receive or a look that waits not."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

FEDBENCH = Path(__file__).parents[2] / "fedbench"
LOOKS = {"sleep", "get_nowait", "recv_nowait", "poll", "wait_for", "select"}
TIMED = {"receive", "get", "recv", "wait", "acquire", "join"}
LOOPS = (ast.While, ast.For, ast.AsyncFor, ast.comprehension, ast.ListComp, ast.GeneratorExp)


def looks_in_loops(source: str) -> list[str]:
    """Return what a module does in a loop that could be polling, as ``line: name``."""
    found = []
    for loop in ast.walk(ast.parse(source)):
        if not isinstance(loop, LOOPS):
            continue
        for call in ast.walk(loop):
            if not isinstance(call, ast.Call):
                continue
            name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            timed = name in TIMED and any(
                keyword.arg in ("timeout", "timeout_s") for keyword in call.keywords
            )
            if name in LOOKS or timed:
                found.append(f"{call.lineno}: {name}")
    return found


MODULES = [path for path in sorted(FEDBENCH.rglob("*.py")) if "polling" not in path.parts]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(FEDBENCH)))
def test_no_module_outside_polling_looks_again_and_again(path: Path) -> None:
    assert looks_in_loops(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "while True:\n    await asyncio.sleep(0.1)",
        "for _ in range(3):\n    queue.get_nowait()",
        "while not done:\n    await transport.receive(a, b, timeout=0.01)",
        "async def f():\n    async for x in y:\n        sleep(1)",
    ],
)
def test_a_planted_violation_is_found(source: str) -> None:
    assert looks_in_loops(source)


def test_the_polling_architecture_is_what_the_check_looks_for() -> None:
    found = [
        line for path in (FEDBENCH / "polling").rglob("*.py") for line in looks_in_loops(path.read_text())
    ]
    assert found


TIMERS = {
    "clock.py",
    "throttle.py",  # once after a minute in which more happened than was logged
    "control/heartbeat.py",
    "fleet/fleet.py",  # once, for an exit code that a dead fork server will not tell
    "learning/collection.py",
    "learning/trainer.py",
    "rpc/deadlines.py",
    "transport/process/rendezvous.py",  # once a greeting, and once after descriptors have run out
    "transport/network/backend.py",  # once before each dialling, when a link has broken
    "transport/network/connection.py",  # once for each link that has broken: the window of its session
    "transport/network/guest.py",  # once after each request: when the guest counts as gone
    "transport/network/liveness.py",
    "transport/network/websocket.py",  # once for each link that closes: how long the peer may take to, too
    "transport/network/doorway.py",  # for each new connection: the deadline of its handshake
    "transport/network/tokens.py",  # while clients are there that showed tokens: no editor tells us
    "transport/process/connection.py",  # once, when there is something to tell that nobody waits for
}


def test_timers_are_set_only_where_they_are_known() -> None:
    """A callback that sets its own timer again polls without a loop: whoever sets timers is listed here."""
    users = {
        str(path.relative_to(FEDBENCH))
        for path in MODULES
        if any(name in path.read_text() for name in ("call_later", "call_at"))
    }
    assert users <= TIMERS
