"""Ctrl-C while a command works: one line, exit code 130, nothing half-written, and the same command then succeeds."""

import importlib
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from support import tiny_vision
from support.hub_stand_in import WRITER, HubStandIn, use_hub
from support.inference_models import saved
from support.listed_posts import TAGS, make_posts
from support.stub_server import StubServer
from support.tiny_models import TOKENIZER_KINDS, tiny_encoder_config
from transformers import AutoModel

from modeling_cotpd import CoTPDForRelationExtraction
from modeling_cotpd.cli.main import app, main
from modeling_cotpd.data.prepared import DatasetInfo, write_prepared
from modeling_cotpd.inference import run

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals")
IN_STORE = "finished answers are in the store; the same command asks for the others."
BEGINS_AGAIN = "Nothing is half-written; the same command begins again."
ASKED, WRITTEN = "knowledge.endpoint:ChatClient.ask*", "files:sync_tree"
CASES = {
    "prepare": ("prepare sample-mner --out out", WRITTEN, BEGINS_AGAIN),
    "check": ("check data", "data.check:find_pairs", BEGINS_AGAIN),
    "augment": ("augment data --out out --kinds entity --no-fact-check", WRITTEN, BEGINS_AGAIN),
    "augment, asking": ("augment data --out out --partial --kinds style {teacher}", ASKED, IN_STORE),
    "augment, its list": (
        "augment data --out out --kinds entity --no-fact-check --entity-source teacher {teacher}", ASKED, IN_STORE
    ),
    "caption": (
        "caption --images pictures --out captions.jsonl --model blip --name tiny --batch-size 2 --store store.sqlite",
        "knowledge.captioner:TransformersCaptioner.caption*", "finished captions are in the store; the same command",
    ),
    "caption, asking": ("caption --images pictures --out captions.jsonl {teacher}", ASKED, IN_STORE),
    "elicit": ("elicit data --out out --partial --grains noun --nouns list {teacher}", ASKED, IN_STORE),
    "elicit, JSON Lines": ("elicit posts.jsonl --out out --grains noun {teacher}", ASKED, IN_STORE),
    "retrieve": (
        "retrieve --data data --out out --column cot_sentence --batch-size 4 --cache cache --model stub",
        "knowledge.embedding:Embedder.passages", "finished vectors are kept; the same command makes the others.",
    ),
    "retrieve, writing": (
        "retrieve --data data --out out --column cot_sentence --cache cache --model stub", WRITTEN, BEGINS_AGAIN
    ),
    "train": (
        "train own.yaml --output_dir out", "training.trainer:CoTPDTrainer.training_step*",
        "no checkpoint is kept. The same command begins again.",
    ),
    "predict": (
        "predict entities --input posts.jsonl --output out.jsonl --device cpu", "inference.run:write_json_lines*",
        "1 chunks of posts are kept in out.jsonl.parts. The same command continues.",
    ),
    "predict, standard output": (
        "predict entities --input posts.jsonl --device cpu", "inference.predictor:Predictor.__call__", BEGINS_AGAIN
    ),
    "predict, asking": (
        "predict entities --input posts.jsonl --output out.jsonl --device cpu --ask-teacher 0.5 --teacher {teacher}",
        ASKED, IN_STORE,
    ),
    "triples": (
        "triples entities relations --input posts.jsonl --output out.jsonl --device cpu",
        "inference.run:write_json_lines*",
        "1 chunks of posts are kept in out.jsonl.parts. The same command continues.",
    ),
    "threshold": ("threshold entities --dataset-dir data", "inference.predictor:Predictor.__call__", BEGINS_AGAIN),
    "threshold, writing": ("threshold entities --dataset-dir data", "inference.on_demand:write_json", BEGINS_AGAIN),
    "learn": ("learn asked.jsonl --dataset-dir data --out out", WRITTEN, BEGINS_AGAIN),
    "explain": (
        "explain entities --text Mira --caption pier --device cpu", "inference.predictor:Predictor.__call__",
        BEGINS_AGAIN,
    ),
    "export": ("export entities --out out", "inference.onnx_model:compare", BEGINS_AGAIN),
    "push": (
        "push entities tester/model", "training.hub:HfApi.create_commit",
        "the Hub has all of the commit or nothing. The same command begins again.",
    ),
    "knowledge label": ("knowledge label data --out out", WRITTEN, BEGINS_AGAIN),
    "knowledge batch-write": (
        "knowledge batch-write posts.jsonl --out out --model stub --store store.sqlite --most-requests 5",
        "knowledge.store:ResponseStore.put_in_batch*", BEGINS_AGAIN,
    ),
    "knowledge summarize": (
        "knowledge summarize data --out out --tokenizer entities --budget 10 {teacher}", ASKED, IN_STORE
    ),
    "knowledge export": ("knowledge export rows.jsonl --store filled.sqlite", "files:json_line*", BEGINS_AGAIN),
    "knowledge import": (
        "knowledge import filled.jsonl --store store.sqlite", "knowledge.store:ResponseStore.transaction", BEGINS_AGAIN
    ),
}  # fmt: skip
"""Command, the function whose call is interrupted (`*`: its second call), and what the line says."""
QUICK = {"knowledge status", "knowledge batch-read"}
SERVE = {"teacher", "demo"}
"""These end at Ctrl-C without an error; their own tests stop them."""


class Vectors:
    """Stands in for an embedding model."""

    dimension, fingerprint = 3, "stub"

    def __init__(self, model, *, revision=None, batch_size=64, device=None):
        self.batch_size = batch_size

    def passages(self, texts):
        vectors = np.random.default_rng(len(texts)).normal(size=(len(texts), 3)).astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    queries = passages


@pytest.fixture(scope="module")
def server():
    def answer(body):
        question = body["messages"][-1]["content"]
        return json.dumps(["Ada Vey", "Tomas Birk", "Lona"]) if "list" in str(question) else "Something short."

    with StubServer(answer=answer) as server:
        yield server


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """A folder with all that the commands read."""
    folder = tmp_path_factory.mktemp("world")
    splits = {"train": make_posts(24, 0, labelled=12), "validation": make_posts(6, 1, split="validation")}
    splits |= {"test": make_posts(6, 2, split="test")}
    for name, split in splits.items():
        nouns = [" ".join(f"{each['mention']} ({each['gloss']})" for each in row["glosses"]) for row in split]
        splits[name] = (
            split.remove_columns("cot_noun").add_column("cot_noun", nouns).select_columns(split.column_names)
        )
    write_prepared(splits, DatasetInfo("fiction", "mner", TAGS), folder / "data")
    saved(folder / "entities")
    saved(folder / "relations", CoTPDForRelationExtraction)
    tiny_vision.blip(folder / "blip")
    AutoModel.from_config(tiny_encoder_config("bert")).save_pretrained(folder / "encoder")
    TOKENIZER_KINDS["wordpiece"]().save_pretrained(folder / "encoder")
    (folder / "pictures").mkdir()
    for number in range(6):
        Image.new("RGB", (20, 20), (20 * number, 90, 90)).save(folder / "pictures" / f"{number}.png")
    posts = [{"id": str(number), "text": f"Mira Holt left Tarn {number}"} for number in range(12)]
    (folder / "posts.jsonl").write_text("".join(json.dumps(post) + "\n" for post in posts), "utf-8")
    asked = [{**post, "knowledge": {"cot_noun": "1. Mira Holt (person)"}} for post in posts]
    (folder / "asked.jsonl").write_text("".join(json.dumps(post) + "\n" for post in asked), "utf-8")
    recipe = {"model_name_or_path": "encoder", "dataset_dir": "data", "do_train": True, "use_cpu": True}
    recipe |= {"max_length": 64, "save_strategy": "no", "report_to": "none", "num_train_epochs": 2}
    (folder / "own.yaml").write_text(json.dumps(recipe), "utf-8")
    return folder


@pytest.fixture
def here(world, tmp_path, monkeypatch) -> Path:
    """The folder of one command; what is only read is linked."""
    for path in world.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def interrupt_at(monkeypatch, place: str) -> list:
    """Let a call of a function begin with a SIGINT to this process, as a terminal sends it; lists the calls."""
    module, _, names = place.rstrip("*").partition(":")
    *owners, name = names.split(".")
    owner = importlib.import_module(f"modeling_cotpd.{module}")
    for each in owners:
        owner = getattr(owner, each)
    real, calls = getattr(owner, name), []

    def interrupted(*args, **kwargs):
        calls.append(place)
        if len(calls) == 1 + place.endswith("*"):
            os.kill(os.getpid(), signal.SIGINT)
        return real(*args, **kwargs)

    monkeypatch.setattr(owner, name, interrupted)
    return calls


@pytest.mark.parametrize("case", CASES)
def test_ctrl_c_is_one_line_and_the_same_command_succeeds(case, here, server, monkeypatch, capsys):
    if case == "export":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    command, place, says = CASES[case]
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.setattr("modeling_cotpd.knowledge.embedding.Embedder", Vectors)
    monkeypatch.setattr(run.chunks, "__defaults__", (5, 10**6))
    teacher = f"stub --base-url {server.base_url} --store store.sqlite --concurrency 2"
    arguments = command.format(teacher=teacher if "--teacher {" in command else f"--model {teacher}").split()
    with HubStandIn() as hub:
        use_hub(monkeypatch, hub)
        monkeypatch.setenv("HF_TOKEN", WRITER)
        for name in ("filled.sqlite", "filled.jsonl"):
            if name in command:
                elicit = f"elicit posts.jsonl --out o --grains noun --model stub --base-url {server.base_url}"
                assert main([*elicit.split(), "--store", "filled.sqlite"]) == 0
                assert main(["knowledge", "export", "filled.jsonl", "--store", "filled.sqlite"]) == 0
        capsys.readouterr()
        before = {path.name for path in here.iterdir()}
        with monkeypatch.context() as patch:
            calls = interrupt_at(patch, place)
            code = main(arguments)
        assert len(calls) > place.endswith("*"), "the function was not called"
        shown = capsys.readouterr().err
        lines = [line for line in shown.splitlines() if line.startswith("cotpd: ")]
        assert code == 130 and len(lines) == 1 and shown.endswith(f"{lines[0]}\n"), shown
        assert lines[0].startswith("cotpd: Stopped") and says in lines[0] and "Traceback" not in shown
        new = {path.name for path in here.iterdir()} - before
        assert not [name for name in new if name == "out" and any((here / name).glob("*.parquet"))]
        assert not {"out.jsonl", "captions.jsonl", "rows.jsonl"} & new
        assert main(arguments) == 0, capsys.readouterr().err


def test_every_command_is_interrupted():
    def names(command, path=()):
        below = getattr(command, "commands", None)
        return [" ".join(path)] if below is None else [n for k, c in below.items() for n in names(c, (*path, k))]

    assert set(names(typer.main.get_command(app))) == {case.partition(",")[0] for case in CASES} | QUICK | SERVE
