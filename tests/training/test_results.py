"""The output folder belongs to one run; results and predictions are written whole."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from datasets import Dataset

from modeling_cotpd.data.schema import make_split
from modeling_cotpd.errors import SettingError
from modeling_cotpd.files import write_json
from modeling_cotpd.training.results import (
    claim_output_dir,
    command_line,
    environment,
    output_folder,
    summary,
    write_predictions,
)
from modeling_cotpd.training.tasks import Evaluation

SETTINGS = {"seed": 1, "alpha": 0.5, "knowledge_columns": ["caption"]}


def claimed(folder):
    return json.loads((folder / "run.json").read_text("utf-8"))


class TestClaim:
    def test_a_new_folder(self, tmp_path):
        claim_output_dir(tmp_path / "a" / "b", SETTINGS, resume=False, overwrite=False)
        assert claimed(tmp_path / "a" / "b") == SETTINGS

    def test_an_empty_folder(self, tmp_path):
        claim_output_dir(str(tmp_path), SETTINGS, resume=False, overwrite=False)
        assert claimed(tmp_path) == SETTINGS

    def test_resuming_where_nothing_is_yet(self, tmp_path):
        claim_output_dir(tmp_path / "a", SETTINGS, resume=True, overwrite=False)
        assert claimed(tmp_path / "a") == SETTINGS

    @pytest.mark.parametrize("settings", [SETTINGS, {**SETTINGS, "seed": 2}])
    def test_another_run_is_refused(self, tmp_path, settings):
        claim_output_dir(tmp_path, SETTINGS, resume=False, overwrite=False)
        (tmp_path / "model.safetensors").touch()
        with pytest.raises(SettingError, match=r"holds another run.*--resume_from_checkpoint.*--overwrite_output_dir"):
            claim_output_dir(tmp_path, settings, resume=False, overwrite=False)
        assert claimed(tmp_path) == SETTINGS

    def test_a_folder_with_other_files_is_refused(self, tmp_path):
        (tmp_path / "thesis.txt").write_text("years of work", "utf-8")
        for resume in (False, True):
            with pytest.raises(SettingError, match=r"The output folder is not empty\. Name a new folder"):
                claim_output_dir(tmp_path, SETTINGS, resume=resume, overwrite=False)
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]

    def test_resuming_with_the_same_settings(self, tmp_path):
        claim_output_dir(tmp_path, {**SETTINGS, "pair": (1, 2)}, resume=False, overwrite=False)
        claim_output_dir(tmp_path, {**SETTINGS, "pair": (1, 2)}, resume=True, overwrite=False)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({**SETTINGS, "alpha": 1.0}, "alpha = 0.5, this one 1.0"),
            ({**SETTINGS, "knowledge_columns": []}, r"knowledge_columns = \['caption'\], this one \[\]"),
            ({**SETTINGS, "new": 3}, "new = None, this one 3"),
            ({"seed": 1, "alpha": 0.5}, "knowledge_columns = .*this one None"),
        ],
    )
    def test_resuming_with_other_settings_is_refused(self, tmp_path, settings, message):
        claim_output_dir(tmp_path, SETTINGS, resume=False, overwrite=False)
        (tmp_path / "checkpoint-5").mkdir()
        with pytest.raises(SettingError, match=message):
            claim_output_dir(tmp_path, settings, resume=True, overwrite=False)
        assert claimed(tmp_path) == SETTINGS and (tmp_path / "checkpoint-5").is_dir()

    def test_overwriting_removes_what_was_made_of_the_old_model_and_nothing_else(self, tmp_path):
        claim_output_dir(tmp_path, SETTINGS, resume=False, overwrite=False)
        for name in ("checkpoint-5", "adapter", "onnx"):
            (tmp_path / name).mkdir()
        for name in ("results.json", "predictions.test.jsonl", "on_demand.json", "adapter/x", "notes.txt"):
            (tmp_path / name).write_text("x", "utf-8")
        claim_output_dir(tmp_path, {**SETTINGS, "seed": 9}, resume=False, overwrite=True)
        assert claimed(tmp_path)["seed"] == 9
        assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "run.json"]

    def test_overwriting_a_folder_that_holds_no_run_keeps_its_files(self, tmp_path):
        (tmp_path / "notes.txt").write_text("x", "utf-8")
        claim_output_dir(tmp_path, SETTINGS, resume=False, overwrite=True)
        assert (tmp_path / "notes.txt").is_file() and claimed(tmp_path) == SETTINGS


def test_json_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "results.json"
    write_json(path, {"name": "Tarnbr\u00fccke"})
    assert json.loads(path.read_text("utf-8")) == {"name": "Tarnbr\u00fccke"} and "\u00fc" in path.read_text("utf-8")
    with pytest.raises(TypeError):
        write_json(path, {"bad": object()})
    assert json.loads(path.read_text("utf-8")) == {"name": "Tarnbr\u00fccke"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["results.json"]


def test_environment():
    found = environment()
    assert {"torch", "transformers", "modeling_cotpd"} <= found["versions"].keys()
    assert found["python"].startswith("3.") and "cores" in found["machine"]
    json.dumps(found)


TOKEN = "hf_" + "s" * 30


@pytest.mark.parametrize(
    ("typed", "recorded"),
    [
        (["--hub_token", TOKEN, "--seed", "3"], "--hub_token ... --seed 3"),
        (["--hub-token", TOKEN], "--hub-token ..."),
        (["--hub_tok", "anything"], "--hub_tok ..."),
        (["--hub-t", "anything"], "--hub-t ..."),
        (["--hub_token=anything"], "--hub_token=..."),
        (["--hub-tok=anything"], "--hub-tok=..."),
        (["--some_flag", TOKEN], "--some_flag hf_..."),
        ([f"--note={TOKEN}"], "--note=hf_..."),
        (["--api-key", "a", "--password=b"], "--api-key ... --password=..."),
        (["--model", "https://me:pass@host/x?token=1"], "--model https://REDACTED@host/x?REDACTED"),
        (["--hub_model_id", "me/x", "--seed", "3"], "--hub_model_id me/x --seed 3"),
        (["--hub_token", "--seed", "3"], "--hub_token --seed 3"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_the_recorded_command_holds_no_secret(typed, recorded):
    assert command_line(["/home/me/run_mner.py", "r.yaml", *typed]) == f"run_mner.py r.yaml {recorded}"
    assert command_line(["run_mner.py"]) == "run_mner.py"


def test_secrets_within_settings(tmp_path):
    settings = {"model_name_or_path": "https://me:pass@host/m", "list": [TOKEN, {"x": TOKEN}]}
    claim_output_dir(tmp_path, settings, resume=False, overwrite=False)
    written = (tmp_path / "run.json").read_text("utf-8")
    assert "pass" not in written and TOKEN not in written
    claim_output_dir(tmp_path, settings, resume=True, overwrite=False)


class TestMachinesThatLackThings:
    def test_no_git(self, monkeypatch):
        monkeypatch.setenv("PATH", "/nowhere")
        assert environment()["git_commit"] is None

    def test_a_git_that_fails(self, monkeypatch):
        def fail(*_, **__):
            raise PermissionError("not for you")

        monkeypatch.setattr("subprocess.run", fail)
        assert environment()["git_commit"] is None

    def test_a_library_without_metadata(self, monkeypatch):
        monkeypatch.setattr("modeling_cotpd.training.results.LIBRARIES", ("torch", "not_installed_anywhere"))
        versions = environment()["versions"]
        assert versions["not_installed_anywhere"] is None and versions["torch"]


class TestOneProcessPerFolder:
    def test_a_second_process_is_refused_and_the_lock_ends_with_its_process(self, tmp_path):
        code = "import sys\nfrom modeling_cotpd.training.results import output_folder\n"
        code += "with output_folder(sys.argv[1]):\n    print('in', flush=True)\n    sys.stdin.read()\n"
        first = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert first.stdout.readline() == "in\n"
        with pytest.raises(SettingError, match="Another process writes this output folder"), output_folder(tmp_path):
            pass
        first.kill()
        first.communicate()
        with output_folder(tmp_path):
            claim_output_dir(tmp_path, SETTINGS, resume=False, overwrite=False)

    def test_a_folder_that_cannot_be_made(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(SettingError, match="The output folder cannot be made"), output_folder(tmp_path / "file/x"):
            pass

    def test_other_ranks_do_not_lock(self, tmp_path):
        with output_folder(tmp_path), output_folder(tmp_path, writes=False) as folder:
            assert folder == tmp_path


@pytest.mark.parametrize("text", ["", "[1]", "{", "null", "[" * 100_000])
def test_a_run_file_that_is_odd_or_cut(tmp_path, text):
    (tmp_path / "run.json").write_text(text, "utf-8")
    with pytest.raises(SettingError, match="not what a run writes"):
        claim_output_dir(tmp_path, SETTINGS, resume=True, overwrite=False)


def test_the_end_of_a_run():
    scores = {"precision": 0.5, "recall": 0.25, "f1": 1 / 3}
    text = summary({"splits": {"test": {"prompt": scores, "knowledge": {**scores, "f1": 0.4}}}}, Path("out"))
    assert text.splitlines()[1].split() == ["test", "prompt", "(text", "alone)", "50.0", "25.0", "33.3"]
    assert "knowledge" in text and "cotpd predict out" in text.splitlines()[-1]
    assert summary({"splits": {}}, Path("out")).startswith("No split was scored.")
    teacher = {"task": "mner", "settings": {"dataset_dir": "data/own"}, "knowledge_columns": ["caption", "cot_noun"]}
    text = summary({**teacher, "splits": {"test": {"knowledge": scores}}}, Path("out"))
    wanted = "cotpd train mner student --dataset_dir data/own --knowledge_columns caption cot_noun --distill_from out"
    assert text.endswith(f"Next: {wanted}")


def test_predictions_mner(tmp_path):
    rows = [
        {"id": "a", "tokens": ["Mira", "sings"], "ner_tags": ["B-PER", "O"], "caption": "a stage"},
        {"id": "b", "tokens": ["\u2764\ufe0f"], "ner_tags": None},
    ]
    split = make_split(rows, "mner", ["O", "B-PER", "I-PER"], "test")
    path = tmp_path / "p.jsonl"
    predicted = {"prompt": [["O", "O"], ["O"]], "knowledge": [["B-PER", "O"], ["O"]]}
    write_predictions(path, split, Evaluation(predicted, {"prompt": [0.5, 0.25], "knowledge": [0.75, 1.0]}, {}))
    assert [json.loads(line) for line in path.read_text("utf-8").splitlines()] == [
        {
            "id": "a",
            "tokens": ["Mira", "sings"],
            "gold": ["B-PER", "O"],
            "prompt": ["O", "O"],
            "knowledge": ["B-PER", "O"],
            "uncertainty": {"prompt": 0.5, "knowledge": 0.75},
        },
        {
            "id": "b",
            "tokens": ["\u2764\ufe0f"],
            "gold": None,
            "prompt": ["O"],
            "knowledge": ["O"],
            "uncertainty": {"prompt": 0.25, "knowledge": 1.0},
        },
    ]


def test_predictions_mre(tmp_path):
    row = {"id": "a", "tokens": ["Mira", "at", "Tarn"], "relation": "lives_in"}
    row |= {"head": {"start": 0, "end": 1}, "tail": {"start": 2, "end": 3}}
    split: Dataset = make_split([row], "mre", ["None", "lives_in"], "test")
    path = tmp_path / "p.jsonl"
    write_predictions(path, split, Evaluation({"prompt": ["None"]}, {"prompt": [0.5]}, {}))
    shown = {name: row[name] for name in ("id", "tokens", "head", "tail")}
    assert json.loads(path.read_text("utf-8")) == {
        **shown,
        "gold": "lives_in",
        "prompt": "None",
        "uncertainty": {"prompt": 0.5},
    }


def test_what_a_killed_run_left_does_not_count_as_another_run(tmp_path):
    (tmp_path / ".run.json-a1b2.tmp").write_text("")
    claim_output_dir(tmp_path, {"seed": 1}, resume=False, overwrite=False)
    assert json.loads((tmp_path / "run.json").read_text("utf-8")) == {"seed": 1}
