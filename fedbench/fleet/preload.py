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
from multiprocessing import spawn

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


def describe_main() -> str:
    """Return the value of :data:`MAIN_VARIABLE`: the script of this process, which starts the server."""
    data = spawn.get_preparation_data("preload")
    wanted = ("sys_path", "sys_argv", "init_main_from_name", "init_main_from_path")
    return json.dumps({name: data[name] for name in wanted if name in data})


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
        for name in _MODULES:
            importlib.import_module(name)
        if importlib.util.find_spec("uvloop") is not None:
            importlib.import_module("uvloop")
        if "init_main_from_name" in data:
            spawn._fixup_main_from_name(data["init_main_from_name"])  # type: ignore[attr-defined]
        elif "init_main_from_path" in data:
            spawn._fixup_main_from_path(data["init_main_from_path"])  # type: ignore[attr-defined]
    except BaseException:
        sys.stderr.write("the fork server could not preload the script:\n")
        traceback.print_exc()
    gc.collect()
    gc.freeze()


if MAIN_VARIABLE in os.environ:
    load()
