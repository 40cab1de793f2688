import base64
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytest.importorskip("PIL")
import tiny_vision
import typer
from PIL import Image
from typer.testing import CliRunner

from modeling_cotpd.cli.sources import caption
from modeling_cotpd.errors import KnowledgeError, SettingError
from modeling_cotpd.knowledge.captioner import TransformersCaptioner
from modeling_cotpd.knowledge.store import ResponseStore

KEY = "sk-never-to-be-seen-1234567890"


@pytest.fixture(scope="module")
def blip(tmp_path_factory):
    return str(tiny_vision.blip(tmp_path_factory.mktemp("blip")))


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(12):
        Image.new("RGB", (20, 10 + number), (20 * number, 255 - 20 * number, 90)).save(folder / f"{number:02d}.png")
    (folder / "12.png").write_bytes(b"broken")
    return folder


def cotpd(*arguments):
    app = typer.Typer()
    app.command()(caption)
    store = Path(arguments[arguments.index("--out") + 1]).with_suffix(".sqlite")
    return CliRunner().invoke(
        app, [str(argument) for argument in (*arguments, "--store", store)], catch_exceptions=False
    )


def lines(path):
    return [json.loads(line) for line in Path(path).read_text("utf-8").splitlines()]


def script(tmp_path):
    """The command as a file, for launchers."""
    path = tmp_path / "caption_script.py"
    path.write_text("import typer\nfrom modeling_cotpd.cli.sources import caption\ntyper.run(caption)\n")
    return path


def environment():
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}


def test_captions_report_provenance_and_exit_code(blip, pictures, tmp_path):
    out = tmp_path / "captions.jsonl"
    result = cotpd("--images", pictures, "--out", out, "--model", blip, "--name", "tiny", "--batch-size", 5)
    assert result.exit_code == 4
    assert "1 corrupt" in result.output
    rows = lines(out)
    assert [row["id"] for row in rows] == [f"{number:02d}.png" for number in range(12)]
    assert len({row["tiny"] for row in rows}) > 1
    (problem,) = lines(tmp_path / "captions.tiny.report.jsonl")
    assert (problem["id"], problem["reason"]) == ("12.png", "corrupt")
    provenance = json.loads((tmp_path / "captions.provenance.json").read_text())["tiny"]
    assert provenance["settings"]["model"] == blip
    assert {"transformers", "torch", "pillow", "modeling_cotpd"} == set(provenance["versions"])
    (pictures / "12.png").unlink()
    assert cotpd("--images", pictures, "--out", out, "--model", blip, "--name", "tiny").exit_code == 0


def test_two_processes_equal_one(blip, pictures, tmp_path):
    one = tmp_path / "one.jsonl"
    cotpd("--images", pictures, "--out", one, "--model", blip, "--name", "tiny")
    two = tmp_path / "two.jsonl"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    arguments = ["--images", pictures, "--out", two, "--model", blip, "--name", "tiny", "--batch-size", "2"]
    arguments += ["--store", tmp_path / "two.sqlite"]
    done = subprocess.run(
        [*command, script(tmp_path), *arguments], capture_output=True, text=True, timeout=200, env=environment()
    )
    assert "in 2 processes" in done.stdout, done.stderr
    assert lines(two) == lines(one)
    assert len(lines(tmp_path / "two.tiny.report.jsonl")) == 1


def test_killed_and_started_again(blip, pictures, tmp_path, monkeypatch):
    for number in range(13, 90):
        Image.new("RGB", (20, 20), (number % 256, 40, 90)).save(pictures / f"{number}.png")
    whole, cut = tmp_path / "whole.jsonl", tmp_path / "cut.jsonl"
    common = ["--images", pictures, "--model", blip, "--name", "tiny", "--batch-size", "1"]
    cotpd(*common, "--out", whole)
    store = tmp_path / "cut.sqlite"
    arguments = [sys.executable, script(tmp_path), *common, "--out", cut, "--store", store]
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment())

    def stored():
        with ResponseStore(store) as opened:
            return sum(1 for _ in opened.rows(status="answered"))

    deadline = time.monotonic() + 200
    while not (store.exists() and stored() >= 5) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = stored()
    assert 5 <= kept < 89
    assert not cut.exists()
    captioned = []
    original = TransformersCaptioner.caption
    monkeypatch.setattr(
        TransformersCaptioner, "caption", lambda self, images: captioned.extend(images) or original(self, images)
    )
    cotpd(*common, "--out", cut)
    assert len(captioned) == 89 - kept
    assert lines(cut) == lines(whole)


class VisionServer(ThreadingHTTPServer):
    """Answers like a vision endpoint, with the size and middle colour of the picture that was sent."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests, self.status, self.seen = [], 200, threading.Lock()


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.seen:
            self.server.requests.append(body)
            first = len(self.server.requests) == 1
        if self.server.status == 401:
            answer, status = {"error": {"message": f"Incorrect API key {self.headers['Authorization']}"}}, 401
        elif self.server.status == 429 and first:
            answer, status = {"error": {"message": "slow down"}}, 429
        else:
            picture, text = body["messages"][0]["content"]
            image = Image.open(io.BytesIO(base64.b64decode(picture["image_url"]["url"].split(",", 1)[1])))
            reply = {"role": "assistant", "content": f"{text['text']} {image.width}x{image.height}"}
            if image.height == 13:
                reply["content"] = ""
            if image.height == 14:
                reply = {"role": "assistant", "content": None, "refusal": "I cannot help with that."}
            answer, status = {"choices": [{"index": 0, "finish_reason": "stop", "message": reply}]}, 200
        data = json.dumps(answer).encode()
        if status == 200 and answer["choices"][0]["message"].get("content", "") and "20x15" in str(answer):
            data = b"<html>gateway</html>"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if status == 429:
            self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = VisionServer()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def everything_written(folder):
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix != ".png")


def test_a_vision_endpoint(server, pictures, tmp_path):
    server.status = 429  # the first request only
    out = tmp_path / "captions.jsonl"
    url = f"http://127.0.0.1:{server.server_port}/v1"
    arguments = ["--images", pictures, "--out", out, "--model", "big/vision", "--base-url", url, "--prompt", "Size?"]
    result = cotpd(*arguments, "--concurrency", 3, "--retries", 1)
    assert result.exit_code == 4
    rows = {row["id"]: row["vision"] for row in lines(out)}
    assert rows["00.png"] == "Size? 20x10" and rows["11.png"] == "Size? 20x21"
    assert len(rows) == 9
    reasons = {line["id"]: line["reason"] for line in lines(tmp_path / "captions.vision.report.jsonl")}
    assert reasons == {"03.png": "empty caption", "04.png": "refused", "05.png": "endpoint", "12.png": "corrupt"}
    assert all(body["temperature"] == 0 and body["max_tokens"] == 100 for body in server.requests)
    before = len(server.requests)
    cotpd(*arguments, "--retries", 1)
    assert len(server.requests) == before + 2  # what failed is asked again, what was answered is not
    cotpd(*arguments, "--retries", 1, "--again", "empty,refused")
    assert len(server.requests) == before + 2 + 4
    dry = cotpd(*arguments, "--dry-run")
    assert "requests to send: 2 (2 caption); answered already: 2" in dry.output
    assert KEY.encode() not in everything_written(tmp_path) + result.output.encode()


def test_a_rejected_key_stops_the_run_and_is_not_shown(server, pictures, tmp_path, capsys):
    server.status = 401
    url = f"http://127.0.0.1:{server.server_port}/v1"
    with pytest.raises(KnowledgeError, match="declines: status 401") as caught:
        cotpd("--images", pictures, "--out", tmp_path / "c.jsonl", "--model", "vision", "--base-url", url)
    assert KEY not in str(caught.value) + str(capsys.readouterr())
    assert KEY.encode() not in everything_written(tmp_path)
    assert len(server.requests) <= 16


def test_a_hosted_endpoint_without_a_key_is_reported(pictures, tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(SettingError, match="export OPENAI_API_KEY"):
        cotpd(
            *("--images", pictures, "--out", tmp_path / "c.jsonl", "--model", "m"),
            *("--base-url", "https://api.openai.com/v1"),
        )


@pytest.mark.slow
def test_real_pictures(tmp_path):
    data = os.environ.get("COTPD_DATA")
    if not data:
        pytest.skip("COTPD_DATA names no folder of real data")
    folder = Path(data) / "images"
    model = tiny_vision.blip2(tmp_path / "blip2")
    out = tmp_path / "captions.jsonl"
    result = cotpd("--images", folder, "--out", out, "--model", model, "--batch-size", 16, "--prompt", "a red")
    empty = [line for line in lines(tmp_path / "captions.blip2.report.jsonl") if line["reason"] != "empty caption"]
    assert not empty, "a real picture could not be read"
    rows = lines(out)
    assert result.exit_code in (0, 1)  # random weights may say nothing about some pictures
    assert len(rows) + len(lines(tmp_path / "captions.blip2.report.jsonl")) == len(list(folder.rglob("*.jpg"))) == 80
    assert len({row["blip2"] for row in rows}) > 5
