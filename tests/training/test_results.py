"""The output folder belongs to one run; results and predictions are written whole."""

import json

import pytest
from datasets import Dataset

from modeling_cotpd.data.schema import make_split
from modeling_cotpd.errors import SettingError
from modeling_cotpd.training.results import claim_output_dir, command_line, environment, write_json, write_predictions

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

    def test_overwriting_removes_checkpoints_and_results_and_nothing_else(self, tmp_path):
        claim_output_dir(tmp_path, SETTINGS, resume=False, overwrite=False)
        (tmp_path / "checkpoint-5").mkdir()
        for name in ("results.json", "notes.txt"):
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


def test_the_recorded_command_holds_no_access_token():
    argv = ["/home/me/run_mner.py", "r.yaml", "--hub_token", "hf_secret", "--seed", "3", "--hub_token=hf_other"]
    assert command_line(argv) == "run_mner.py r.yaml --hub_token ... --seed 3 --hub_token=..."
    assert command_line(["run_mner.py"]) == "run_mner.py"


def test_predictions_mner(tmp_path):
    rows = [
        {"id": "a", "tokens": ["Mira", "sings"], "ner_tags": ["B-PER", "O"], "caption": "a stage"},
        {"id": "b", "tokens": ["\u2764\ufe0f"], "ner_tags": None},
    ]
    split = make_split(rows, "mner", ["O", "B-PER", "I-PER"], "test")
    path = tmp_path / "p.jsonl"
    write_predictions(path, split, {"prompt": [["O", "O"], ["O"]], "knowledge": [["B-PER", "O"], ["O"]]})
    assert [json.loads(line) for line in path.read_text("utf-8").splitlines()] == [
        {
            "id": "a",
            "tokens": ["Mira", "sings"],
            "gold": ["B-PER", "O"],
            "prompt": ["O", "O"],
            "knowledge": ["B-PER", "O"],
        },
        {"id": "b", "tokens": ["\u2764\ufe0f"], "gold": None, "prompt": ["O"], "knowledge": ["O"]},
    ]


def test_predictions_mre(tmp_path):
    row = {"id": "a", "tokens": ["Mira", "at", "Tarn"], "relation": "lives_in"}
    row |= {"head": {"start": 0, "end": 1}, "tail": {"start": 2, "end": 3}}
    split: Dataset = make_split([row], "mre", ["None", "lives_in"], "test")
    path = tmp_path / "p.jsonl"
    write_predictions(path, split, {"prompt": ["None"]})
    shown = {name: row[name] for name in ("id", "tokens", "head", "tail")}
    assert json.loads(path.read_text("utf-8")) == {**shown, "gold": "lives_in", "prompt": "None"}


def test_what_a_full_disk_left_does_not_count_as_another_run(tmp_path):
    (tmp_path / "run.json.tmp").write_text("")
    claim_output_dir(tmp_path, {"seed": 1}, resume=False, overwrite=False)
    assert json.loads((tmp_path / "run.json").read_text("utf-8")) == {"seed": 1}
