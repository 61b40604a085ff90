#!/usr/bin/env python3
"""Puts a report on a pull request as one comment: made by the first run, changed by those after it.

    scripts/sticky_comment.py NUMBER BODY_FILE

The first line of the body is the marker by which the comment is found again. The environment is that of
GitHub Actions: GITHUB_TOKEN, GITHUB_REPOSITORY (owner/name), GITHUB_API_URL. Nothing but the standard library
is needed. Exits with 2 for what is wrong with its input, with 1 for what GitHub says to it.
"""

from __future__ import annotations

import json
import os
import re
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

MARKER = re.compile(r"<!-- fedbench:[A-Za-z0-9._-]+ -->")
PAGE = 100
MOST_PAGES = 100
TIMEOUT_S = 30.0


class GitHub:
    """The comments of one pull request.

    Args:
        api: Address of the interface.
        repository: ``owner/name``.
        token: Of somebody who may comment.
    """

    def __init__(self, api: str, repository: str, token: str) -> None:
        self._root = f"{api.rstrip('/')}/repos/{repository}"
        self._token = token

    def find(self, number: int, marker: str) -> int | None:
        """Return the id of the first comment that begins with the marker, None if there is none."""
        for page in range(1, MOST_PAGES + 1):
            comments = self._call("GET", f"/issues/{number}/comments?per_page={PAGE}&page={page}")
            for comment in comments:
                if str(comment["body"] or "").split("\n", 1)[0].strip() == marker:
                    return int(comment["id"])
            if len(comments) < PAGE:
                break
        return None

    def put(self, number: int, body: str, comment: int | None) -> str:
        """Make a comment, or change one; return its address."""
        if comment is None:
            done = self._call("POST", f"/issues/{number}/comments", {"body": body})
        else:
            done = self._call("PATCH", f"/issues/comments/{comment}", {"body": body})
        return str(done["html_url"])

    def _call(self, method: str, path: str, content: dict[str, str] | None = None) -> Any:
        request = urllib.request.Request(
            self._root + path,
            method=method,
            data=None if content is None else json.dumps(content).encode(),
            headers={
                "Authorization": f"Bearer {self._token}",
                "Accept": "application/vnd.github+json",
                "Content-Type": "application/json",
                "User-Agent": "fedbench",
            },
        )
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            return json.load(answer)


def main(arguments: list[str]) -> int:
    """Return the exit code."""
    if len(arguments) != 2 or not (arguments[0].isascii() and arguments[0].isdigit()):
        return _refuse("usage: sticky_comment.py NUMBER BODY_FILE")
    number = int(arguments[0])
    try:
        body = Path(arguments[1]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return _refuse(f"{arguments[1]}: cannot be read: {error}")
    marker = body.split("\n", 1)[0].strip()
    if not MARKER.fullmatch(marker):
        return _refuse(
            f"{arguments[1]}: begins with no marker: make it by `fedbench report comparison.json "
            "--format comment`"
        )
    token, repository = os.environ.get("GITHUB_TOKEN", ""), os.environ.get("GITHUB_REPOSITORY", "")
    if not token or not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        return _refuse("GITHUB_TOKEN and GITHUB_REPOSITORY (owner/name) must be set")
    github = GitHub(os.environ.get("GITHUB_API_URL") or "https://api.github.com", repository, token)
    try:
        comment = github.find(number, marker)
        address = github.put(number, body, comment)
    except urllib.error.HTTPError as error:
        with error:
            return _fail(f"{error.code} {error.reason}: may this token comment on {repository}#{number}?")
    except (urllib.error.URLError, TimeoutError, ValueError, KeyError, TypeError) as error:
        return _fail(f"no sense in what it answers: {error}")
    print(f"{'made' if comment is None else 'changed'} {address}")
    return 0


def _refuse(message: str) -> int:
    print(f"sticky_comment: {message}", file=sys.stderr)
    return 2


def _fail(message: str) -> int:
    print(f"sticky_comment: GitHub: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
