"""The environment fingerprint: what a number can only be trusted with."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("fedbench", "numpy", "uvloop", "msgspec", "psutil", "pandas", "matplotlib")
RESOURCES = ("cpu", "memory", "io")


def fingerprint() -> dict[str, Any]:
    """Return what this machine and this checkout are. What cannot be read is null."""
    return {
        "cpu_model": _cpu_model(),
        "cores": os.cpu_count(),
        "cores_usable": len(os.sched_getaffinity(0)),
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "cgroup_cpu_max": _read("/sys/fs/cgroup/cpu.max"),
        "cgroup_memory_max": _read("/sys/fs/cgroup/memory.max"),
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "python": sys.version.split()[0],
        "packages": {name: _version(name) for name in PACKAGES},
        "commit": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain")),
    }


def pressure() -> dict[str, Any]:
    """Return the load now: run-queue averages over 1, 5 and 15 minutes, stalled shares over 10 s."""
    return {"load": list(os.getloadavg()), "stall_share": {name: _stalled(name) for name in RESOURCES}}


def short_commit() -> str:
    """Return the first 7 digits of the checkout's commit, ``nogit`` outside of one."""
    commit = _git("rev-parse", "HEAD")
    return commit[:7] if commit else "nogit"


def _cpu_model() -> str | None:
    for line in (_read("/proc/cpuinfo") or "").splitlines():
        if line.startswith(("model name", "Model")):
            return line.partition(":")[2].strip()
    return platform.processor() or None


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _stalled(resource: str) -> float | None:
    for line in (_read(f"/proc/pressure/{resource}") or "").splitlines():
        fields = dict(part.split("=") for part in line.split()[1:])
        if line.startswith("some"):
            return float(fields["avg10"]) / 100
    return None
