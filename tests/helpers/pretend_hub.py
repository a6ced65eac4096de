"""A Hugging Face hub on this machine: enough of its interface for an upload, whose files are kept."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class PretendHub:
    """What the hub holds and was asked for.

    Attributes:
        files: Content of each file of the only repository.
        refuses: Status of the answer to every request that changes something; 0 answers it.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    created: list[dict[str, Any]] = field(default_factory=list)
    refuses: int = 0
    address: str = ""

    def answer(self, path: str, body: bytes) -> object:
        """The answer to a request, as JSON."""
        if path == "/api/repos/create":
            self.created.append(json.loads(body))
            return {"url": f"{self.address}/lab/nuclei", "name": "lab/nuclei", "id": "lab/nuclei"}
        if "/preupload/" in path:
            asked = json.loads(body)["files"]
            return {"files": [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False} for one in asked]}
        if "/commit/" in path:
            self._commit([json.loads(line) for line in body.splitlines()])
            return {"success": True, "commitUrl": f"{self.address}/lab/nuclei/commit/{COMMIT}", "commitOid": COMMIT}
        if "/tree/" in path:
            return [{"type": "file", "path": name, "oid": "", "size": len(data)} for name, data in self.files.items()]
        names = [{"rfilename": name} for name in self.files]
        return {"id": "lab/nuclei", "sha": COMMIT, "siblings": names, "tags": [], "private": False}

    def _commit(self, lines: list[dict[str, Any]]) -> None:
        for line in lines:
            value = line["value"]
            if line["key"] == "deletedFile":
                self.files.pop(value["path"])
            elif line["key"] == "file":
                self.files[value["path"]] = base64.b64decode(value["content"])


@contextmanager
def pretend_hub(hub: PretendHub) -> Iterator[PretendHub]:
    """Serve the hub at `hub.address`."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the name that http.server calls
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            refused = hub.refuses and self.command == "POST"
            answer = {"error": "refused"} if refused else hub.answer(self.path, body)
            content = json.dumps(answer).encode()
            self.send_response(hub.refuses if refused else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
