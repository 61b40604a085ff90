"""Names of suites, workloads, arms, criteria and baselines: parts of paths and of command lines. Pure."""

from __future__ import annotations

import re

LONGEST = 100
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.,@=+-]*")


def wrong_name(name: str) -> str:
    """Return what is wrong with a name and what to do about it; empty if nothing is.

    A name may not lead out of the folder that it lies in, pass for an option, or break a line: it has
    letters, digits and ``_ . , @ = + -``, begins with a letter, a digit or ``_``, and has no two dots
    in a row.
    """
    if len(name) > LONGEST:
        return f"{name[:20]!r}… is too long for a name: use at most {LONGEST} characters"
    if _NAME.fullmatch(name) and ".." not in name:
        return ""
    return (
        f"{name!r} is no name: use letters, digits and _ . , @ = + -, beginning with a letter, a digit or _, "
        "and no two dots in a row"
    )
