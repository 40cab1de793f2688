"""`cotpd push` to a stand-in for the Hub, and the model loaded from there by a process without this package."""

import json
import os
import subprocess
import sys

import pytest
import torch
from support.hub_stand_in import WRITER, HubStandIn
from support.published_runs import write_run
from support.saved_models import PAIR, TEXT, WITHOUT_PACKAGE

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


def cotpd(hub, home, *arguments, token=WRITER):
    code = "import sys; from modeling_cotpd.cli.main import main; sys.exit(main())"
    return process(hub, home, sys.executable, "-c", code, *map(str, arguments), token=token)


@pytest.mark.parametrize("task", [pytest.param("mner", marks=pytest.mark.slow), "mre"])
def test_pushed_and_loaded_elsewhere(hub, tmp_path, task):
    model = write_run(tmp_path / "run", task)
    done = cotpd(hub, tmp_path, "push", "run", f"tester/{task}", "--private", "--commit-message", "Here it is")
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


def test_a_dry_run_contacts_nobody(hub, tmp_path):
    write_run(tmp_path / "run")
    done = cotpd(hub, tmp_path, "push", "run", "tester/x", "--dry-run", token="")
    assert done.returncode == 0 and hub.requests == []
    listed = {line.split()[-1] for line in done.stdout.splitlines()}
    assert {"model.safetensors", "modeling_cotpd.py", "README.md", "results.json"} <= listed
    assert "Not published: checkpoint-1, predictions.test.jsonl, run.json, training_args.bin" in done.stdout


def test_a_refusal_is_one_sentence(hub, tmp_path):
    write_run(tmp_path / "run")
    done = cotpd(hub, tmp_path, "push", "run", "other/x")
    told = "cotpd: other/x: The access token may not write there (403"
    assert done.returncode == 2 and done.stderr.strip().splitlines()[-1].startswith(told), done.stderr
