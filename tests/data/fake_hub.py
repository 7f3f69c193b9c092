"""A few files served on loopback as the Hugging Face hub serves them, to test the real client."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

SHA = "0" * 39 + "1"


@contextmanager
def serve(repos: dict[str, dict[str, bytes]]) -> Iterator[tuple[str, list[str]]]:
    """Serve {repository: {path: content}} on a free port; yields the endpoint and the list of requests."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_POST(self) -> None:
            wanted = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
            self.answer(wanted.get("paths"))

        def do_GET(self) -> None:
            self.answer(None)

        def answer(self, wanted: list[str] | None) -> None:
            path = unquote(urlsplit(self.path).path)
            asked.append(f"{self.command} {path}")
            for repo, files in repos.items():
                if path.startswith(f"/datasets/{repo}/resolve/"):
                    name = path.removeprefix(f"/datasets/{repo}/resolve/").partition("/")[2]
                    if name in files:
                        return self.file(files[name])
                    return self.send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": SHA})
                elif f"{path}/".startswith(f"/api/datasets/{repo}/"):
                    _, _, inside = path.removeprefix(f"/api/datasets/{repo}").partition("/")
                    if inside.startswith(("tree/", "paths-info/")):
                        kind, _, rest = inside.partition("/")
                        return self.listing(files, wanted, rest.partition("/")[2] if kind == "tree" else "")
                    if inside in ("", "revision/main", f"revision/{SHA}"):
                        siblings = [{"rfilename": name} for name in files]
                        return self.json(
                            {"id": repo, "sha": SHA, "siblings": siblings, "private": False, "tags": []}
                        )
            return self.send(404, b"{}", {"X-Error-Code": "RepoNotFound"})

        def listing(self, files: dict[str, bytes], wanted: list[str] | None, folder: str) -> None:
            rows = []
            folders = {name.rpartition("/")[0] for name in files} - {""}
            for name, content in files.items():
                rows.append({"type": "file", "path": name, "size": len(content), "oid": oid(content)})
            rows += [{"type": "directory", "path": name, "size": 0, "oid": SHA} for name in folders]
            if wanted is not None:
                rows = [row for row in rows if row["path"] in wanted]
            elif "recursive=true" not in self.path.lower():
                rows = [row for row in rows if str(row["path"]).rpartition("/")[0] == folder]
            elif folder:
                rows = [row for row in rows if str(row["path"]).startswith(f"{folder}/")]
            self.json(rows)

        def json(self, value: object) -> None:
            self.send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

        def file(self, content: bytes) -> None:
            self.send(
                200, content, {"ETag": f'"{oid(content)}"', "X-Repo-Commit": SHA, "Accept-Ranges": "bytes"}
            )

        def send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


def oid(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()
