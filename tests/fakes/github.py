"""As much of GitHub's interface as comments on a pull request need, on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

REPOSITORY = "octo/fed"
TOKEN = "t0ken"
LIMIT = 65_536


class FakeGitHub:
    """Comments, and the requests that came.

    Attributes:
        url: Where it listens.
        comments: As GitHub has them, by pull request.
        requests: Method and path of each, in order.
        status: What every request is answered with in place of an answer, if not 0.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.comments: dict[str, list[dict[str, Any]]] = {}
        self.requests: list[str] = []
        self.status = 0

    def environment(self) -> dict[str, str]:
        """Return what a step of a workflow finds in its environment."""
        return {
            "GITHUB_API_URL": self.url,
            "GITHUB_REPOSITORY": REPOSITORY,
            "GITHUB_TOKEN": TOKEN,
            "no_proxy": "*",
        }

    def add(self, number: int, body: str | None) -> dict[str, Any]:
        """Have somebody comment."""
        every = [comment for comments in self.comments.values() for comment in comments]
        comment = {"id": 1000 + len(every), "body": body, "html_url": f"{self.url}/c/{1000 + len(every)}"}
        self.comments.setdefault(str(number), []).append(comment)
        return comment

    def answer(self, method: str, target: str, token: str, content: Any) -> tuple[int, Any]:
        """Return status and content."""
        self.requests.append(f"{method} {target}")
        if self.status:
            return self.status, {"message": "no"}
        if token != f"Bearer {TOKEN}":
            return 401, {"message": "Bad credentials"}
        url = urlsplit(target)
        parts = url.path.removeprefix(f"/repos/{REPOSITORY}/").split("/")
        if content is not None and not 0 < len(content["body"]) <= LIMIT:
            return 422, {"message": "body is too long (maximum is 65536 characters)"}
        if method == "PATCH" and parts[:2] == ["issues", "comments"]:
            every = [comment for comments in self.comments.values() for comment in comments]
            found = [comment for comment in every if str(comment["id"]) == parts[2]]
            if not found:
                return 404, {"message": "Not Found"}
            found[0]["body"] = content["body"]
            return 200, found[0]
        if len(parts) != 3 or parts[::2] != ["issues", "comments"]:
            return 404, {"message": "Not Found"}
        if method == "POST":
            return 201, self.add(int(parts[1]), content["body"])
        query = {key: int(values[0]) for key, values in parse_qs(url.query).items()}
        size, page = min(query.get("per_page", 30), 100), query.get("page", 1)
        return 200, self.comments.get(parts[1], [])[(page - 1) * size : page * size]


@contextmanager
def fake_github() -> Iterator[FakeGitHub]:
    """Listen on loopback while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def handle_one(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            content = json.loads(self.rfile.read(length)) if length else None
            token = self.headers.get("Authorization", "")
            status, answer = github.answer(self.command, self.path, token, content)
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = handle_one

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    github = FakeGitHub(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield github
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
