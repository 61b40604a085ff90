"""What a run was asked for, kept with it as ``suite.json`` so that it can be resumed."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from fedbench.errors import ConfigError, Problem
from harness.records.store import UNDECODABLE, write_atomically
from harness.suite import Suite

if TYPE_CHECKING:
    from pathlib import Path

ASKED = "suite.json"
ASKED_VERSION = 1


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The suite as it was run, selected and overridden, and the seed of its order."""

    schema_version: int = ASKED_VERSION
    suite: Suite
    seed: int


def write_asked(folder: Path, asked: Asked) -> None:
    """Keep what was asked for in a run's folder.

    Raises:
        OSError: It cannot be written.
    """
    write_atomically(folder / ASKED, msgspec.json.format(msgspec.json.encode(asked), indent=1))


def digest_of_asked(folder: Path) -> str:
    """Return the digest of ``suite.json``, by which a run knows it again.

    Raises:
        OSError: It cannot be read.
    """
    return hashlib.sha256((folder / ASKED).read_bytes()).hexdigest()


def read_asked(folder: Path) -> Asked:
    """Return what a run was asked for.

    Raises:
        ConfigError: It cannot be read, is damaged, or is of another version.
    """
    path = folder / ASKED
    try:
        asked = msgspec.json.decode(path.read_bytes(), type=Asked)
    except FileNotFoundError:
        message = f"has no {ASKED}: it is no run, or one of an earlier version, which cannot be resumed"
        raise ConfigError(str(folder), [Problem("", message)]) from None
    except OSError as error:
        raise ConfigError(str(path), [Problem("", f"cannot be read: {error.strerror}")]) from error
    except UNDECODABLE as error:
        raise ConfigError(str(path), [Problem("", f"is damaged: {error}")]) from error
    if asked.schema_version != ASKED_VERSION:
        message = f"has schema version {asked.schema_version}: this program reads version {ASKED_VERSION}"
        raise ConfigError(str(path), [Problem("", message)])
    return asked
