"""Downloads against a file server on this machine."""

import hashlib
import http.server
import threading

import pytest

from modeling_cotpd.data.sources import BASE_URL_VARIABLE, SOURCES, RemoteFile, download
from modeling_cotpd.errors import DataError

BODY = bytes(range(256)) * 40
SHA256 = hashlib.sha256(BODY).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves BODY; the path says how: /file, /ranges (can resume), /cut/N and /cut-ranges/N (break off N times)."""

    def do_GET(self):
        kind, _, times = self.path.strip("/").partition("/")
        requests = self.server.requests
        requests.append(self.headers.get("Range"))
        if kind == "absent":
            return self.send_error(404)
        if kind == "busy" and len(requests) < 3:
            return self.send_error(503)
        start = 0
        if "ranges" in kind and self.headers.get("Range"):
            start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
            if start >= len(BODY):
                return self.send_error(416)
        body = BODY[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if times and len(requests) <= int(times) else body)

    def log_message(self, *args):
        """Quiet."""


@pytest.fixture
def server():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.requests = []
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_file_is_fetched_once(server, tmp_path):
    path = download(f"{server.url}/file", tmp_path / "a.txt", SHA256)
    assert path.read_bytes() == BODY
    download(f"{server.url}/file", tmp_path / "a.txt", SHA256)
    assert len(server.requests) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_another_file_is_not_overwritten(server, tmp_path):
    (tmp_path / "a.txt").write_text("mine")
    with pytest.raises(DataError, match=r"a\.txt: The file is there already, with sha256"):
        download(f"{server.url}/file", tmp_path / "a.txt", SHA256)
    assert (tmp_path / "a.txt").read_text() == "mine" and not server.requests


def test_a_wrong_hash_leaves_nothing(server, tmp_path):
    with pytest.raises(DataError, match=f"has sha256 {SHA256}, not the published {'0' * 64}"):
        download(f"{server.url}/file", tmp_path / "a.txt", "0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_an_absent_file_is_not_tried_again(server, tmp_path):
    with pytest.raises(DataError, match=r"/absent: The server answers 404.*by hand"):
        download(f"{server.url}/absent", tmp_path / "a.txt", SHA256)
    assert len(server.requests) == 1 and list(tmp_path.iterdir()) == []


def test_a_cut_connection_is_taken_up_where_it_broke(server, tmp_path):
    path = download(f"{server.url}/cut-ranges/1", tmp_path / "a.txt", SHA256, wait=0)
    assert path.read_bytes() == BODY
    assert server.requests == [None, f"bytes={len(BODY) // 2}-"]


def test_a_cut_connection_without_ranges_is_begun_again(server, tmp_path):
    assert download(f"{server.url}/cut/2", tmp_path / "a.txt", SHA256, wait=0).read_bytes() == BODY
    assert len(server.requests) == 3


def test_a_busy_server_is_tried_again(server, tmp_path):
    assert download(f"{server.url}/busy", tmp_path / "a.txt", SHA256, wait=0).read_bytes() == BODY


def test_what_came_is_kept_for_the_next_call(server, tmp_path):
    with pytest.raises(DataError, match=r"broke 2 times.*7680 bytes stay.*same command again"):
        download(f"{server.url}/cut-ranges/2", tmp_path / "a.txt", SHA256, attempts=2, wait=0)
    assert not (tmp_path / "a.txt").exists()
    path = download(f"{server.url}/cut-ranges/2", tmp_path / "a.txt", SHA256, wait=0)
    assert path.read_bytes() == BODY and server.requests[-1] == "bytes=7680-"
    (tmp_path / "b.txt.part").write_bytes(BODY)
    assert download(f"{server.url}/ranges", tmp_path / "b.txt", SHA256).read_bytes() == BODY, "the part was all of it"


def test_no_server(tmp_path):
    with pytest.raises(DataError, match="broke 1 times"):
        download("http://127.0.0.1:9/x", tmp_path / "a.txt", SHA256, attempts=1)


def test_files_of_a_source_from_another_server(server, tmp_path, monkeypatch):
    monkeypatch.setenv(BASE_URL_VARIABLE, f"{server.url}/")
    file = RemoteFile("train.txt", "file", SHA256)
    assert download(file.url, tmp_path / "new" / file.name, file.sha256).read_bytes() == BODY


def test_the_password_of_a_server_is_not_shown(tmp_path, monkeypatch):
    with pytest.raises(DataError) as raised:
        download("http://me:hidden@127.0.0.1:9/x?key=hidden", tmp_path / "a.txt", SHA256, attempts=1)
    assert "hidden" not in str(raised.value)


def test_every_source_names_a_commit():
    for source in SOURCES.values():
        captions = [file for files in source.captions.values() for file in files]
        for file in (*source.downloads, *captions, *([source.explanations] if source.explanations else ())):
            assert len(file.sha256) == 64 and file.url.startswith("https://raw.githubusercontent.com/")
            assert len(file.origin.split("@")[1]) == 40, "a commit, not a branch"
