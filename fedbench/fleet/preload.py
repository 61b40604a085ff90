"""Imported by the fork server before its first fork: children share what is loaded here.

Python 3.11's own preloading of the user's script does nothing, because one side names the key ``main_path``
and the other ``init_main_from_path``. So the script comes by an environment variable and is imported here.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import sys
import traceback
from multiprocessing import process, spawn
from typing import Any

MAIN_VARIABLE = "FEDBENCH_PRELOAD_MAIN"
_MODULES = (
    "fedbench",
    "fedbench.processclient",
    "asyncio",
    "multiprocessing.popen_forkserver",
    "multiprocessing.synchronize",
    "multiprocessing.queues",
    "concurrent.futures.thread",
)


def describe_main(*modules: str) -> str:
    """Return the value of :data:`MAIN_VARIABLE`: the script of this process, what else to load."""
    data = spawn.get_preparation_data("preload")
    wanted = ("sys_path", "sys_argv", "init_main_from_name", "init_main_from_path")
    return json.dumps({"modules": modules, **{name: data[name] for name in wanted if name in data}})


def load() -> None:
    """Import the runtime and the user's script, and set apart what was allocated.

    What fails leaves its traceback on standard error; every child will then meet the same error by itself.
    """
    try:
        data = json.loads(os.environ.pop(MAIN_VARIABLE, "{}"))
        if "sys_path" in data:
            sys.path[:] = data["sys_path"]
        if "sys_argv" in data:
            sys.argv[:] = data["sys_argv"]
        for name in (*_MODULES, *data.get("modules", ())):
            importlib.import_module(name)
        if importlib.util.find_spec("uvloop") is not None:
            importlib.import_module("uvloop")
        _import_main(data)
    except BaseException:
        sys.stderr.write("the fork server could not preload the script:\n")
        traceback.print_exc()
    gc.collect()
    gc.freeze()


def _import_main(data: dict[str, Any]) -> None:
    """Import the user's script as multiprocessing does. One that starts a federation meanwhile is named.

    Its children then go on without it: they need it only for a learner that it defines.
    """
    name, path = data.get("init_main_from_name"), data.get("init_main_from_path")
    current = process.current_process()
    current._inheriting = True  # type: ignore[attr-defined]  # whoever starts a process now is refused
    try:
        if name is not None:
            spawn._fixup_main_from_name(name)  # type: ignore[attr-defined]
        elif path is not None:
            spawn._fixup_main_from_path(path)  # type: ignore[attr-defined]
    except RuntimeError as error:
        if "bootstrapping" not in str(error):
            raise
        sys.stderr.write(
            f"{path or name} starts processes while it is imported: put that under "
            "`if __name__ == '__main__':`; the clients cannot use learners that it defines\n"
        )
        if path is not None:
            sys.modules["__main__"].__file__ = path  # or every client would import it again
    finally:
        del current._inheriting  # type: ignore[attr-defined]


if MAIN_VARIABLE in os.environ:
    load()
