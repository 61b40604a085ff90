"""Models from recorded texts of /proc/cpuinfo, two cores each at most."""

import pytest

from harness.records.cpumodel import model_of

INTEL = """processor	: 0
vendor_id	: GenuineIntel
cpu family	: 6
model		: 79
model name	: Intel(R) Xeon(R) CPU @ 2.20GHz
stepping	: 0
cpu MHz		: 2199.998

processor	: 1
vendor_id	: GenuineIntel
model name	: Intel(R) Xeon(R) CPU @ 2.20GHz
"""
EPYC = """processor	: 0
vendor_id	: AuthenticAMD
cpu family	: 25
model		: 17
model name	: AMD EPYC
cpu MHz		: 2596.134
"""
ARM_CORE = """processor	: {number}
BogoMIPS	: {bogomips}
Features	: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm
CPU implementer	: {implementer}
CPU architecture: 8
CPU variant	: 0x3
CPU part	: {part}
CPU revision	: 1

"""


def arm(*kinds: tuple[str, str]) -> str:
    return "".join(
        ARM_CORE.format(number=number, bogomips="243.75", implementer=implementer, part=part)
        for number, (implementer, part) in enumerate(kinds)
    )


GRAVITON2 = arm(("0x41", "0xd0c"), ("0x41", "0xd0c"))
RASPBERRY_PI_4 = (
    arm(("0x41", "0xd08"), ("0x41", "0xd08"))
    + "Hardware	: BCM2835\nRevision	: c03114\nSerial		: 10000000abcdef01\n"
    + "Model		: Raspberry Pi 4 Model B Rev 1.4\n"
)
COMPATIBLE = "model name	: ARMv8 Processor rev 1 (v8l)\n"


@pytest.mark.parametrize(
    ("text", "model"),
    [
        (INTEL, "Intel(R) Xeon(R) CPU @ 2.20GHz"),
        (EPYC, "AMD EPYC"),
        (EPYC.replace("AMD EPYC", "AMD EPYC 7763   64-Core  Processor"), "AMD EPYC 7763 64-Core Processor"),
        (GRAVITON2, "ARM Neoverse-N1 (0x41/0xd0c)"),
        (arm(("0x41", "0xd4f")), "ARM Neoverse-V2 (0x41/0xd4f)"),
        (arm(("0xc0", "0xac3")), "Ampere-1 (0xc0/0xac3)"),
        (RASPBERRY_PI_4, "ARM Cortex-A72 (0x41/0xd08)"),
        (arm(("0x41", "0xd05"), ("0x41", "0xd05"), ("0x41", "0xd0b")),
         "ARM Cortex-A55 (0x41/0xd05) + ARM Cortex-A76 (0x41/0xd0b)"),
        (COMPATIBLE + GRAVITON2, "ARM Neoverse-N1 (0x41/0xd0c)"),
        ("cpu		: POWER9, altivec supported\nclock	: 2300.000000MHz\n", "POWER9, altivec supported"),
    ],
)  # fmt: skip
def test_the_model_is_named(text: str, model: str) -> None:
    assert model_of(text) == model


@pytest.mark.parametrize(
    ("kind", "model"),
    [(("0x41", "0xfff"), "ARM (0x41/0xfff)"), (("0x7f", "0x001"), "arm64 (0x7f/0x001)")],
)
def test_an_unknown_core_has_its_numbers(kind: tuple[str, str], model: str) -> None:
    assert model_of(arm(kind)) == model


@pytest.mark.parametrize("text", ["", "processor	: 0\nmodel name	:\n", "Model		: some board\n"])
def test_a_text_that_names_no_cpu_has_no_model(text: str) -> None:
    assert model_of(text) is None
