"""The name of a CPU model, from the text of ``/proc/cpuinfo``. Pure.

x86 writes a name. arm64 writes numbers, who designed the core (implementer) and which one it is (part), and
no name: the tables below have those that servers, boards and laptops have. Source: MIDR_EL1 in
``arch/arm64/include/asm/cputype.h`` of Linux, and the manuals of the cores.
"""

from __future__ import annotations

import re

IMPLEMENTERS = {
    0x41: "ARM",
    0x42: "Broadcom",
    0x43: "Cavium",
    0x46: "Fujitsu",
    0x48: "HiSilicon",
    0x4E: "NVIDIA",
    0x50: "APM",
    0x51: "Qualcomm",
    0x53: "Samsung",
    0x61: "Apple",
    0x6D: "Microsoft",
    0x70: "Phytium",
    0xC0: "Ampere",
}
PARTS = {
    (0x41, 0xD03): "Cortex-A53",
    (0x41, 0xD04): "Cortex-A35",
    (0x41, 0xD05): "Cortex-A55",
    (0x41, 0xD07): "Cortex-A57",
    (0x41, 0xD08): "Cortex-A72",
    (0x41, 0xD09): "Cortex-A73",
    (0x41, 0xD0A): "Cortex-A75",
    (0x41, 0xD0B): "Cortex-A76",
    (0x41, 0xD0C): "Neoverse-N1",
    (0x41, 0xD0D): "Cortex-A77",
    (0x41, 0xD40): "Neoverse-V1",
    (0x41, 0xD41): "Cortex-A78",
    (0x41, 0xD44): "Cortex-X1",
    (0x41, 0xD46): "Cortex-A510",
    (0x41, 0xD47): "Cortex-A710",
    (0x41, 0xD49): "Neoverse-N2",
    (0x41, 0xD4A): "Neoverse-E1",
    (0x41, 0xD4F): "Neoverse-V2",
    (0x41, 0xD83): "Neoverse-V3AE",
    (0x41, 0xD84): "Neoverse-V3",
    (0x41, 0xD8E): "Neoverse-N3",
    (0x43, 0x0A1): "ThunderX",
    (0x43, 0x0AF): "ThunderX2",
    (0x46, 0x001): "A64FX",
    (0x48, 0xD01): "Kunpeng-920",
    (0x4E, 0x004): "Carmel",
    (0x51, 0xC00): "Falkor",
    (0x51, 0x001): "Oryon",
    (0x61, 0x022): "Icestorm-M1",
    (0x61, 0x023): "Firestorm-M1",
    (0x61, 0x032): "Blizzard-M2",
    (0x61, 0x033): "Avalanche-M2",
    (0x6D, 0xD49): "Azure Cobalt 100",
    (0xC0, 0xAC3): "Ampere-1",
    (0xC0, 0xAC4): "Ampere-1a",
}

_NAME = re.compile(r"^model name\s*:\s*(\S.*)", re.MULTILINE)
_OTHER_NAME = re.compile(r"^(?:cpu model|cpu|uarch)\s*:\s*(\S.*)", re.MULTILINE)  # MIPS, POWER, RISC-V
_CORE = re.compile(
    r"^CPU implementer\s*:\s*(0x[0-9a-f]+)$(?:\n(?!\s*$).*)*?\nCPU part\s*:\s*(0x[0-9a-f]+)$",
    re.MULTILINE | re.IGNORECASE,
)


def model_of(cpuinfo: str) -> str | None:
    """Return the model of a CPU, None where the text does not tell.

    The name of an x86 model is as written, clock included: models of one name and different clocks are not
    the same. The name of an arm64 model is made of its ids, which stand behind it: ``ARM Neoverse-N1
    (0x41/0xd0c)``. Where the cores are of several kinds, all are named, joined by a plus sign.
    """
    match = _NAME.search(cpuinfo)
    if match and not _CORE.search(cpuinfo):
        return " ".join(match[1].split())
    kinds = dict.fromkeys((int(one, 16), int(other, 16)) for one, other in _CORE.findall(cpuinfo))
    if kinds:
        return " + ".join(_arm(*kind) for kind in kinds)
    match = _OTHER_NAME.search(cpuinfo)
    return " ".join(match[1].split()) if match else None


def _arm(implementer: int, part: int) -> str:
    maker, name = IMPLEMENTERS.get(implementer, ""), PARTS.get((implementer, part), "")
    full = name if name.startswith(maker) else f"{maker} {name}".strip()
    return f"{full or 'arm64'} ({implementer:#04x}/{part:#05x})"
