"""A local server that imitates the hub's API and the download of a release, faults included."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hub:
    """Serves `files`, path -> bytes; a hub's file is at /<repository>/resolve/<revision>/<name>.

    cut:     path -> numbers of bytes after which the next connections break off.
    pages:   paths that are answered with a web page and status 200.
    ranges:  whether a download can be resumed.
    served:  path -> bytes sent; asked: paths in order.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.cut: dict[str, list[int]] = {}
        self.pages: set[str] = set()
        self.ranges = True
        self.served: Counter[str] = Counter()
        self.asked: list[str] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def siblings(self, path: str) -> list[dict[str, str]]:
        """The files of the repository and revision of an API path."""
        kind, _, asked = path.removeprefix("/api/").partition("/")
        repository, _, revision = asked.partition("/revision/")
        start = f"/{'datasets/' * (kind == 'datasets')}{repository}/resolve/{revision}/"
        return [{"rfilename": name.removeprefix(start)} for name in self.files if name.startswith(start)]

    def handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_HEAD(self) -> None:
                self.answer(body=False)

            def do_GET(self) -> None:
                self.answer(body=True)

            def answer(self, *, body: bool) -> None:
                path = self.path.partition("?")[0]
                hub.asked.append(path)
                if path in hub.pages:
                    return self.send(200, b"<!DOCTYPE html><html>Please log in</html>", body, "text/html")
                if path.startswith("/api/") and "/tree/" not in path and hub.siblings(path):
                    about = {"id": "x/y", "sha": path.rpartition("/")[2], "siblings": hub.siblings(path)}
                    return self.send(200, json.dumps(about).encode(), body, "application/json")
                if path.startswith("/api/datasets/") and "/tree/" in path:
                    names = [one["rfilename"] for one in hub.siblings(path.replace("/tree/", "/revision/"))]
                    tree = [{"type": "file", "path": name, "size": 1, "oid": name} for name in names]
                    return self.send(200, json.dumps(tree).encode(), body, "application/json")
                if path not in hub.files:
                    return self.send(404, b"", body, "text/plain")
                self.send_file(path, hub.files[path], body=body)

            def send_file(self, path: str, content: bytes, *, body: bool) -> None:
                asked = self.headers.get("Range", "")
                start = int(asked.removeprefix("bytes=").partition("-")[0]) if asked and hub.ranges else 0
                if start >= len(content) > 0:
                    return self.send(416, b"", body, "text/plain")
                self.send_response(206 if start else 200)
                self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
                self.send_header("X-Repo-Commit", path.split("/resolve/")[-1].partition("/")[0])
                self.send_header("Accept-Ranges", "bytes")
                if start:
                    self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
                self.send_header("Content-Length", str(len(content) - start))
                self.end_headers()
                if not body:
                    return
                end = len(content)
                if hub.cut.get(path):
                    end = min(end, start + hub.cut[path].pop(0))
                    self.close_connection = True
                hub.served[path] += end - start  # before it arrives, so that a test counts it for certain
                self.wfile.write(content[start:end])

            def send(self, status: int, content: bytes, body: bool, kind: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if body:
                    self.wfile.write(content)

        return Handler
