"""A small stand-in for the Hub's HTTP API: enough of it to create, write and read model repositories."""

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import huggingface_hub
import transformers

WRITER, READER = "hf_writer", "hf_reader"
"""Access tokens: of the user `tester`, and one of the same user that may only read."""
LARGE = (".safetensors", "tokenizer.json")


class HubStandIn:
    """Serves repositories from memory.

    `with HubStandIn() as hub:` and set `HF_ENDPOINT` to `hub.url`. `repos` maps a name to
    `{"private": bool, "branches": {branch: {path: bytes}}, "commits": [summary, ...]}`; `requests` lists what was
    asked; `fail` maps a part of a path to the status that every request to it gets.
    """

    def __init__(self):
        self.repos: dict[str, dict] = {}
        self.blobs: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []
        self.fail: dict[str, int] = {}
        hub = self

        class Handler(_Handler):
            stand_in = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "HubStandIn":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def files(self, repo: str, branch: str = "main") -> dict[str, bytes]:
        return self.repos[repo]["branches"][branch]


def use_hub(monkeypatch, hub: HubStandIn) -> None:
    """Let this process's Hub client talk to the stand-in; others are given `HF_ENDPOINT`."""
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(transformers.utils.hub, "_hf_api", None)  # made once, with the address of its time


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    stand_in: HubStandIn

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self._answer("GET")

    def do_GET(self):
        self._answer("GET")

    def do_POST(self):
        self._answer("POST")

    def do_PUT(self):
        self._answer("PUT")

    def _answer(self, method: str) -> None:
        parts = urlsplit(self.path)
        path, self.query = unquote(parts.path), parts.query
        self.body = self._read_body()
        self.stand_in.requests.append((self.command, path))
        for part, status in self.stand_in.fail.items():
            if part in path:
                return self._json({"error": f"set to answer {status}"}, status)
        for kind, pattern, action in _ROUTES:
            match = re.fullmatch(pattern, path)
            if match and kind == method:
                return action(self, *match.groups())
        return self._json({"error": "Not found"}, 404)

    def _read_body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _send(self, content: bytes, status: int = 200, headers: dict | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _json(self, value: object, status: int = 200, headers: dict | None = None) -> None:
        content = json.dumps(value).encode()
        self._send(content, status, {"Content-Type": "application/json", **(headers or {})})

    def _token(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    def _may_write(self, name: str) -> bool:
        """Answers 401 or 403 itself when not."""
        if self._token() not in (WRITER, READER):
            self._json({"error": "Invalid credentials"}, 401)
        elif self._token() == READER or not name.startswith("tester/"):
            self._json({"error": "You don't have the rights to write here"}, 403)
        else:
            return True
        return False

    def _branch(self, name: str, revision: str) -> dict[str, bytes] | None:
        """Answers 404 itself when there is none, or none that this token may see."""
        repo = self.stand_in.repos.get(name)
        if repo is None or (repo["private"] and self._token() not in (WRITER, READER)):
            self._json({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
            return None
        branches = {**repo["branches"], **{_commit(files): files for files in repo["branches"].values()}}
        if revision not in branches:
            self._json({"error": "Revision not found"}, 404, {"X-Error-Code": "RevisionNotFound"})
            return None
        return branches[revision]

    def create(self) -> None:
        asked = json.loads(self.body)
        name = f"{asked.get('organization') or 'tester'}/{asked['name']}"
        if not self._may_write(name):
            return
        url = f"{self.stand_in.url}/{name}"
        if name in self.stand_in.repos:
            return self._json({"error": "You already created this model repo", "url": url}, 409)
        private = asked.get("visibility") == "private" or bool(asked.get("private"))
        self.stand_in.repos[name] = {"private": private, "branches": {"main": {}}, "commits": []}
        self._json({"url": url, "name": name, "id": name})

    def validate(self) -> None:
        self._json({"errors": [], "warnings": []})

    def preupload(self, name: str, revision: str) -> None:
        branch = self._branch(name, revision)
        if branch is None:
            return
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(LARGE) else "regular",
                "shouldIgnore": False,
            }
            for file in json.loads(self.body)["files"]
        ]
        self._json({"files": files})

    def lfs_batch(self, name: str) -> None:
        if not self._may_write(name):
            return
        objects = json.loads(self.body)["objects"]
        for item in objects:
            if item["oid"] not in self.stand_in.blobs:
                item["actions"] = {"upload": {"href": f"{self.stand_in.url}/lfs/{item['oid']}"}}
        self._json({"transfer": "basic", "objects": objects})

    def lfs_put(self, oid: str) -> None:
        assert hashlib.sha256(self.body).hexdigest() == oid
        self.stand_in.blobs[oid] = self.body
        self._send(b"")

    def commit(self, name: str, revision: str) -> None:
        if not self._may_write(name):
            return
        branch = self._branch(name, revision)
        if branch is None:
            return
        files, summary = dict(branch), ""
        for line in self.body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "header":
                summary = value["summary"]
            elif item["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif item["key"] == "lfsFile":
                files[value["path"]] = self.stand_in.blobs[value["oid"]]
        repo = self.stand_in.repos[name]
        repo["commits"].append(summary)
        request = "create_pr=1" in self.query
        repo["branches"]["refs/pr/1" if request else revision] = files
        oid = _commit(files)
        answer = {"success": True, "commitOid": oid, "commitUrl": f"{self.stand_in.url}/{name}/commit/{oid}"}
        self._json(answer | ({"pullRequestUrl": f"{self.stand_in.url}/{name}/discussions/1"} if request else {}))

    def new_branch(self, name: str, branch: str) -> None:
        if not self._may_write(name):
            return
        branches = self.stand_in.repos[name]["branches"]
        if branch in branches:
            return self._json({"error": "Reference already exists"}, 409)
        branches[branch] = dict(branches["main"])
        self._json({})

    def info(self, name: str, revision: str | None = None) -> None:
        branch = self._branch(name, revision or "main")
        if branch is None:
            return
        self._json(
            {
                "_id": "0",
                "id": name,
                "modelId": name,
                "sha": _commit(branch),
                "private": self.stand_in.repos[name]["private"],
                "tags": [],
                "downloads": 0,
                "likes": 0,
                "siblings": [{"rfilename": path} for path in branch],
            }
        )

    def tree(self, name: str, revision: str, folder: str | None = None) -> None:
        branch = self._branch(name, revision)
        if branch is None:
            return
        if folder:
            return self._json({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})
        self._json(
            [
                {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                for path, content in branch.items()
            ]
        )

    def resolve(self, name: str, revision: str, path: str) -> None:
        branch = self._branch(name, revision)
        if branch is None:
            return
        about = {"X-Repo-Commit": _commit(branch)}
        if path not in branch:
            return self._json({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound", **about})
        self._send(branch[path], 200, {"ETag": f'"{hashlib.sha256(branch[path]).hexdigest()}"', **about})


def _commit(files: dict[str, bytes]) -> str:
    """A commit hash of what a branch holds."""
    digest = hashlib.sha1()
    for path in sorted(files):
        digest.update(path.encode() + b"\0" + files[path])
    return digest.hexdigest()


_REPO = r"([\w.-]+/[\w.-]+)"
_ROUTES = [
    ("POST", r"/api/repos/create", _Handler.create),
    ("POST", r"/api/validate-yaml", _Handler.validate),
    ("POST", rf"/api/models/{_REPO}/preupload/(.+)", _Handler.preupload),
    ("POST", rf"/{_REPO}\.git/info/lfs/objects/batch", _Handler.lfs_batch),
    ("PUT", r"/lfs/(\w+)", _Handler.lfs_put),
    ("POST", rf"/api/models/{_REPO}/commit/(.+)", _Handler.commit),
    ("POST", rf"/api/models/{_REPO}/branch/(.+)", _Handler.new_branch),
    ("GET", rf"/api/models/{_REPO}", _Handler.info),
    ("GET", rf"/api/models/{_REPO}/revision/(.+)", _Handler.info),
    ("GET", rf"/api/models/{_REPO}/tree/([^/]+)/?(.+)?", _Handler.tree),
    ("GET", rf"/{_REPO}/resolve/([^/]+)/(.+)", _Handler.resolve),
]
