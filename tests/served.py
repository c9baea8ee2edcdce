"""A real server on this machine: files by path, ranges (Range, If-Range), and connections that break on request."""

from __future__ import annotations

import contextlib
import hashlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """``files`` by path; ``breaks``: bytes after which the next answers end early; ``requests``: what was requested."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.breaks: list[int] = []
        self.codes: list[int] = []  # of the next answers, which then have no file
        self.with_length = True
        self.with_ranges = True
        self.with_versions = True
        self.requests: list[tuple[str, str | None]] = []  # "GET /a", Range
        self.thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def stop(self) -> None:
        self.shutdown()
        self.thread.join()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        wanted = self.headers.get("Range")
        self.server.requests.append((f"{self.command} {self.path}", wanted))
        code = self.server.codes.pop(0) if self.server.codes else 200
        if code != 200 or self.path not in self.server.files:
            self.send_error(code if code != 200 else 404)
            return
        data = self.server.files[self.path]
        version = f'"{hashlib.sha256(data).hexdigest()}"'  # as the hub does for large files
        same = self.headers.get("If-Range", version) == version
        start = int(re.findall(r"bytes=(\d+)-", wanted)[0]) if wanted and same and self.server.with_ranges else 0
        if start >= len(data) > 0:
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        if self.server.with_length:
            self.send_header("Content-Length", str(len(data) - start))
        if self.server.with_versions:
            self.send_header("ETag", version)
        self.send_header("X-Repo-Commit", "0123456789" * 4)
        self.end_headers()
        if with_body:
            size = self.server.breaks.pop(0) if self.server.breaks else len(data)
            with contextlib.suppress(ConnectionError):  # the client may have closed the connection
                self.wfile.write(data[start : start + size])

    def log_message(self, format: str, *args: object) -> None:
        pass
