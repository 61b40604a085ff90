import asyncio
import sys

import pytest
import uvloop

from fedbench.loop import LOOPS, resolve_loop, run


async def kind_of_loop():
    await asyncio.sleep(0)
    return "uvloop" if isinstance(asyncio.get_running_loop(), uvloop.Loop) else "asyncio"


@pytest.fixture
def without_uvloop(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvloop", None)


@pytest.mark.parametrize(
    ("name", "expected"), [("auto", "uvloop"), ("uvloop", "uvloop"), ("asyncio", "asyncio")]
)
def test_it_runs_in_the_loop_that_it_resolves_to(name, expected):
    assert resolve_loop(name) == expected
    assert run(kind_of_loop(), name) == expected


def test_auto_is_the_default():
    assert run(kind_of_loop()) == run(kind_of_loop(), "auto")


def test_where_uvloop_is_not_installed_auto_is_asyncio(without_uvloop):
    assert resolve_loop("auto") == "asyncio"
    assert run(kind_of_loop()) == "asyncio"


def test_uvloop_that_is_not_installed(without_uvloop):
    with pytest.raises(ValueError, match="uvloop is not installed: install it, or use loop 'asyncio'"):
        resolve_loop("uvloop")
    with pytest.raises(ValueError, match="not installed"):
        run(kind_of_loop(), "uvloop")  # a coroutine that nobody awaits would be a warning, and so an error


def test_an_unknown_loop_runs_nothing():
    with pytest.raises(ValueError, match=f"unknown loop 'trio': use one of {', '.join(LOOPS)}"):
        run(kind_of_loop(), "trio")


@pytest.mark.parametrize("name", ["asyncio", "uvloop"])
def test_what_the_coroutine_raises_comes_out_and_its_tasks_are_ended(name):
    ended = []

    async def forever():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    async def main():
        task = asyncio.create_task(forever())
        await asyncio.sleep(0)
        raise ZeroDivisionError(task.get_name())

    with pytest.raises(ZeroDivisionError):
        run(main(), name)
    assert ended == [True]
