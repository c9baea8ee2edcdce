"""A hub on this machine: what the client of the Hugging Face Hub needs to make, fill and read models."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

WRITER = "hf_writer"  # the token that may do everything


class Repository:
    """``commits`` by revision: the files of each, by name."""

    def __init__(self, private: bool) -> None:
        self.private = private
        self.commits: dict[str, dict[str, bytes]] = {}
        self.branches: dict[str, str] = {}

    def commit(self, branch: str, files: dict[str, bytes]) -> str:
        text = json.dumps([len(self.commits), *sorted(files)])
        sha = hashlib.sha1(text.encode()).hexdigest()
        self.commits[sha], self.branches[branch] = files, sha
        return sha

    def files(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        sha = self.branches.get(revision, revision)
        return (sha, self.commits[sha]) if sha in self.commits else None


class Hub(ThreadingHTTPServer):
    """``repositories`` by OWNER/NAME; ``requests``: what was requested."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, Repository] = {}
        self.requests: list[str] = []
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
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *words: Any) -> None:
        """Nothing."""

    def do_HEAD(self) -> None:
        self._get()

    def do_GET(self) -> None:
        self._get()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = self._parts()
        if parts == ["api", "validate-yaml"]:
            return self._json({"errors": [], "warnings": []})
        if self.headers.get("Authorization") != f"Bearer {WRITER}":
            return self._json({"error": "Invalid credentials"}, 401)
        if parts == ["api", "repos", "create"]:
            wanted = json.loads(body)
            name = "/".join(filter(None, [wanted.get("organization", "me"), wanted["name"]]))
            private = wanted.get("private") or wanted.get("visibility") == "private"
            self.server.repositories[name] = Repository(bool(private))
            self.server.repositories[name].commit("main", {".gitattributes": b""})
            return self._json({"url": f"{self.server.url}/{name}"})
        name, action = "/".join(parts[2:4]), parts[4]
        repository = self.server.repositories[name]
        if action == "preupload":
            files = json.loads(body)["files"]
            modes = [{"path": each["path"], "uploadMode": "regular", "shouldIgnore": False} for each in files]
            return self._json({"files": modes})
        _, files = repository.files(parts[5]) or ("", {})
        files = dict(files)
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            elif line["key"] == "deletedFile":
                del files[line["value"]["path"]]
        sha = repository.commit(parts[5], files)
        return self._json({"commitUrl": f"{self.server.url}/{name}/commit/{sha}", "commitOid": sha})

    def _get(self) -> None:
        parts = self._parts()
        name = "/".join(parts[2:4]) if parts[:2] == ["api", "models"] else "/".join(parts[:2])
        repository = self.server.repositories.get(name)
        allowed = self.headers.get("Authorization") == f"Bearer {WRITER}"
        if repository is None or (repository.private and not allowed):
            return self._json({"error": "Repository not found"}, 401, {"X-Error-Code": "RepoNotFound"})
        if parts[:2] != ["api", "models"]:
            return self._file(repository, parts[3], "/".join(parts[4:]))
        revision = parts[5] if len(parts) > 5 else "main"
        found = repository.files(revision)
        if found is None:
            return self._json({"error": "Invalid rev id"}, 404, {"X-Error-Code": "RevisionNotFound"})
        sha, files = found
        if len(parts) > 4 and parts[4] == "tree":
            entries = [
                {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for path, data in files.items()
            ]
            return self._json(entries)
        siblings = [{"rfilename": path} for path in files]
        return self._json({"id": name, "sha": sha, "private": repository.private, "siblings": siblings, "tags": []})

    def _file(self, repository: Repository, revision: str, path: str) -> None:
        sha, files = repository.files(revision) or ("", {})
        if path not in files:
            return self._json({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})
        headers = {"ETag": f'"{hashlib.sha1(files[path]).hexdigest()}"', "X-Repo-Commit": sha}
        return self._send(files[path], 200, headers)

    def _parts(self) -> list[str]:
        self.server.requests.append(f"{self.command} {self.path}")
        return [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]

    def _json(self, value: Any, code: int = 200, headers: dict[str, str] | None = None) -> None:
        self._send(json.dumps(value).encode(), code, {"Content-Type": "application/json", **(headers or {})})

    def _send(self, data: bytes, code: int, headers: dict[str, str]) -> None:
        self.send_response(code)
        for key, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
