"""A saved model on a machine without this package: code travels with the weights."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.saved_models import PAIR, TEXT, WITHOUT_PACKAGE, save_tiny_model

from modeling_cotpd import CoTPDForRelationExtraction, CoTPDForTokenClassification, RelationExtractionPipeline

ELSEWHERE = (
    WITHOUT_PACKAGE
    + """
try:
    import modeling_cotpd
    raise SystemExit("the package can be imported, this proves nothing")
except ModuleNotFoundError:
    pass
import torch, transformers
folder, task = sys.argv[1:]
remote = {"trust_remote_code": True}
config = transformers.AutoConfig.from_pretrained(folder, **remote)
assert type(config).__name__ == "CoTPDConfig" and "transformers_modules" in type(config).__module__
kind = "AutoModelForTokenClassification" if task == "mner" else "AutoModelForSequenceClassification"
model = getattr(transformers, kind).from_pretrained(folder, **remote)
tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **remote)
ids = torch.tensor([[2, 9, 10, 11, 12, 3]])
places = {} if task == "mner" else {"marker_positions": torch.tensor([[1, 3]])}
found = {"logits": model(input_ids=ids, **places).logits.tolist()}
name = "token-classification" if task == "mner" else "relation-extraction"
made = transformers.pipeline(name, folder, **remote)
given = json.loads(sys.stdin.read())
found["pipeline"] = made(given)
print("RESULT" + json.dumps(found, default=float))
"""
)


def elsewhere(folder: Path, task: str, given, home: Path) -> dict:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COTPD"))}
    environment |= {"HF_HOME": str(home / "hf"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(folder), task],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        cwd=home,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.split("RESULT")[1])


def check_elsewhere(tmp_path: Path, task: str, **settings) -> None:
    folder = tmp_path / "model"
    model, tokenizer = save_tiny_model(folder, task, **settings)
    ids = torch.tensor([[2, 9, 10, 11, 12, 3]])
    places = {} if task == "mner" else {"marker_positions": torch.tensor([[1, 3]])}
    found = elsewhere(folder, task, TEXT if task == "mner" else PAIR, tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(torch.tensor(found["logits"]), model(input_ids=ids, **places).logits)
    if task == "mre":
        here = RelationExtractionPipeline(model=model, tokenizer=tokenizer)(PAIR)
        assert found["pipeline"]["label"] == here["label"]
        assert found["pipeline"]["score"] == pytest.approx(here["score"], abs=1e-6)
    else:
        assert all(
            TEXT[piece["start"] : piece["end"]].lower() == piece["word"].replace("##", "")
            for piece in found["pipeline"]
        )


def test_token_classification_elsewhere(tmp_path):
    check_elsewhere(tmp_path, "mner", use_crf=True)


def test_relation_extraction_elsewhere(tmp_path):
    check_elsewhere(tmp_path, "mre")


@pytest.mark.slow
@pytest.mark.parametrize("prompt_type", ["unconditional", "prefix", "none"])
@pytest.mark.parametrize("family", ["modernbert", "deberta-v2"])
def test_other_prompts_and_encoders_elsewhere(tmp_path, family, prompt_type):
    check_elsewhere(tmp_path, "mner", family=family, prompt_type=prompt_type)


def test_what_is_written(tmp_path):
    for task in ("mner", "mre"):
        save_tiny_model(tmp_path / task, task)
        names = {path.name for path in (tmp_path / task).glob("*.py")}
        code = {
            "configuration_cotpd.py", "crf_cotpd.py", "encoder_cotpd.py", "markers_cotpd.py", "modeling_cotpd.py",
            "outputs_cotpd.py", "pipeline_cotpd.py", "pretrained_cotpd.py", "prompt_cotpd.py",
        }  # fmt: skip
        assert names == code
        config = json.loads((tmp_path / task / "config.json").read_text("utf-8"))
        auto = "AutoModelForTokenClassification" if task == "mner" else "AutoModelForSequenceClassification"
        assert set(config["auto_map"]) == {"AutoConfig", auto}
        assert all("--" not in place for place in config["auto_map"].values())


def test_the_two_heads_do_not_share_an_auto_map(tmp_path):
    """Saved one after the other in one process, each names its own class alone."""
    for task, other in (("mner", "AutoModelForSequenceClassification"), ("mre", "AutoModelForTokenClassification")):
        save_tiny_model(tmp_path / task, task)
        assert other not in json.loads((tmp_path / task / "config.json").read_text("utf-8"))["auto_map"]


def test_no_file_names_a_place_on_this_machine(tmp_path):
    root = str(Path(__file__).parents[1])
    for task in ("mner", "mre"):
        folder = tmp_path / task
        save_tiny_model(folder, task)
        # loaded from the folder and saved again, as somebody would who trains further
        again = CoTPDForTokenClassification if task == "mner" else CoTPDForRelationExtraction
        again.from_pretrained(folder).save_pretrained(tmp_path / f"{task}-again")
        for path in [*folder.rglob("*"), *(tmp_path / f"{task}-again").rglob("*")]:
            if path.is_file() and path.suffix != ".safetensors":
                text = path.read_text("utf-8")
                for place in (root, str(tmp_path), str(Path.home()) + "/", sys.prefix):
                    assert place not in text, f"{path.name} holds {place}"
