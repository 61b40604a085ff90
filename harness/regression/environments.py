"""Environments of revisions, kept between comparisons: making one takes a minute, and most are the same.

An environment (``.venv``) belongs to what it was made of: the lock file, the project file, the way it is set
up and the interpreter. It holds paths of the tree that it lies in. So it is kept beside a place of its own,
where trees of such revisions are checked out one at a time, and is moved in and out of it. Two revisions that
need the same one at once have a place each. What was used longest ago is removed beyond :data:`KEPT`.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

KEPT = 6
"""Places that are kept; an environment takes about 300 MB."""
MADE_OF = ("requirements.lock", "pyproject.toml", "scripts/setup")
"""Files of a revision that its environment follows from."""
_AT_ONCE = 4
_TREE, _KEPT, _LOCK = "tree", "venv", "lock"


class Place(NamedTuple):
    """Where a revision is checked out.

    Attributes:
        tree: The folder; it is not there yet.
        kept: Where its environment lies meanwhile, None if it is not kept.
    """

    tree: Path
    kept: Path | None

    def bring(self) -> bool:
        """Move the kept environment into the tree; return whether there was one."""
        if self.kept is None or not self.kept.is_dir():
            return False
        os.rename(self.kept, self.tree / ".venv")
        return True

    def keep(self) -> None:
        """Move the environment out of the tree, for the next time."""
        made = self.tree / ".venv"
        if self.kept is not None and made.is_dir():
            shutil.rmtree(self.kept, ignore_errors=True)
            os.rename(made, self.kept)


def usual_root() -> Path:
    """Return where environments are kept: a folder of the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "fedbench" / "environments"


def key_of(texts: Iterable[str]) -> str:
    """Return the name of the environment that these files make with this interpreter."""
    digest = hashlib.sha256(f"{sys.executable} {sys.version}".encode())
    for text in texts:
        digest.update(b"\0" + text.encode())
    return digest.hexdigest()[:16]


@contextlib.contextmanager
def place(key: str, root: Path | None, otherwise: Path) -> Iterator[Place]:
    """Have a place for the tree of a revision; the tree is removed at the end.

    Args:
        key: As :func:`key_of`.
        root: Where environments are kept; None to keep none.
        otherwise: The tree where nothing is kept, or all places of this key are in use.
    """
    with contextlib.ExitStack() as stack:
        folder = None if root is None else _locked(key, root, stack)
        if folder is None:
            yield Place(otherwise, None)
            return
        found = Place(folder / _TREE, folder / _KEPT)
        shutil.rmtree(found.tree, ignore_errors=True)  # what a comparison that was killed left behind
        try:
            yield found
        finally:
            shutil.rmtree(found.tree, ignore_errors=True)
            os.utime(folder)
            _prune(folder.parent)


def _locked(key: str, root: Path, stack: contextlib.ExitStack) -> Path | None:
    """Return a folder that nobody else uses until the end, None if there is none."""
    for number in range(_AT_ONCE):
        folder = root / f"{key}-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        file = stack.enter_context((folder / _LOCK).open("w"))
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        return folder
    return None


def _prune(root: Path) -> None:
    """Remove the places that were used longest ago, but for those in use."""
    places = sorted((p for p in root.iterdir() if p.is_dir()), key=lambda p: p.stat().st_mtime, reverse=True)
    for folder in places[KEPT:]:
        with (folder / _LOCK).open("w") as file, contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
