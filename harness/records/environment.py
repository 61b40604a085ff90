"""The environment fingerprint: what a number can only be trusted with."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.records.cgroup import groups_of, memory_limit_bytes, narrowest_quota
from harness.records.cpumodel import model_of

if TYPE_CHECKING:
    from collections.abc import Mapping

PACKAGES = (
    *("fedbench", "numpy", "uvloop", "msgspec", "psutil", "aiohttp", "grpcio"),
    *("pandas", "matplotlib"),
)
"""What is measured, or measures; one that is not installed, as ``grpcio`` need not be, has no version."""
RESOURCES = ("cpu", "memory", "io")
ROOT = Path(__file__).resolve().parents[2]


def fingerprint(root: Path = ROOT) -> dict[str, Any]:
    """Return what this machine and the checkout at ``root`` are. What cannot be read is null."""
    status = _git(root, "status", "--porcelain")
    groups = groups_of("self", "cpu")
    quota = narrowest_quota(groups)
    return {
        "cpu_model": _cpu_model(),
        "cores": os.cpu_count(),
        "cores_usable": len(os.sched_getaffinity(0)),
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "cgroup_cpu_max": quota.text if quota else "max" if groups else None,
        "cpu_quota_cores": round(quota.cores, 3) if quota else None,
        "cgroup_memory_max": _memory_max(),
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "python": sys.version.split()[0],
        "packages": {name: _version(name) for name in PACKAGES},
        "commit": _git(root, "rev-parse", "HEAD"),
        "dirty": None if status is None else bool(status),
    }


def pressure() -> dict[str, Any]:
    """Return the load now.

    That is run-queue averages over 1, 5 and 15 minutes, stalled shares over 10 s, and the ticks that all CPUs
    have spent since boot, altogether and with other machines (steal).
    """
    return {
        "load": list(os.getloadavg()),
        "stall_share": {name: _stalled(name) for name in RESOURCES},
        "cpu_ticks": _ticks(),
    }


def machine_class(environment: Mapping[str, Any]) -> str:
    """Return what machines must have in common for their numbers to be compared, as one line.

    That is the model of the CPU as it names itself (with the clock, where that is part of the name), usable
    cores, a CPU quota below them, architecture and the minor version of Python.
    """
    python = ".".join(str(environment.get("python") or "?").split(".")[:2])
    model = " ".join(str(environment.get("cpu_model") or "unknown CPU").split())
    cores, architecture = environment.get("cores_usable"), environment.get("architecture")
    return f"{model}, {cores} cores{_quota(environment)}, {architecture}, Python {python}"


def short_commit(root: Path = ROOT) -> str:
    """Return the first 7 digits of the commit of the checkout at ``root``, ``nogit`` where there is none."""
    commit = _git(root, "rev-parse", "HEAD")
    return commit[:7] if commit else "nogit"


def _quota(environment: Mapping[str, Any]) -> str:
    """Return a CPU quota that is below the usable cores, as a part of a sentence, or nothing."""
    quota, cores = environment.get("cpu_quota_cores"), environment.get("cores_usable")
    if quota is None:  # runs made before quotas were kept have the text of cpu.max alone
        match = re.fullmatch(r"(\d+) ([1-9]\d*)", str(environment.get("cgroup_cpu_max")))
        quota = int(match[1]) / int(match[2]) if match else None
    if not isinstance(quota, int | float) or (isinstance(cores, int) and quota >= cores):
        return ""
    return f", quota {round(quota, 2):g}"


def _memory_max() -> str | None:
    groups = groups_of("self", "memory")
    limit_bytes = memory_limit_bytes(groups)
    return str(limit_bytes) if limit_bytes is not None else "max" if groups else None


def _cpu_model() -> str | None:
    return model_of(_read("/proc/cpuinfo") or "") or platform.processor() or None


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


def _git(root: Path, *arguments: str) -> str | None:
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _ticks() -> dict[str, int] | None:
    fields = (_read("/proc/stat") or "").partition("\n")[0].split()
    if len(fields) < 9 or fields[0] != "cpu":
        return None
    ticks = [int(field) for field in fields[1:9]]  # user … steal; guests are in user already
    return {"all": sum(ticks), "steal": ticks[7]}


def _stalled(resource: str) -> float | None:
    match = re.search(r"^some avg10=([\d.]+)", _read(f"/proc/pressure/{resource}") or "", re.MULTILINE)
    return float(match[1]) / 100 if match else None
