"""The kit: pieces join or are refused, the sweep ends in time and leaves its results, and trains what was packed."""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from archive import MANIFEST, unpack, write_pieces
from pack import pack
from run import ROOT, Session, summary, tags
from support.small_sweep import behave, calls, write_fictional
from transformers import AutoModel

from experiments.plan import Plan
from experiments.sweep import read_sweep
from modeling_cotpd.data.views import ViewSettings
from modeling_cotpd.training.arguments import parse_run


@pytest.fixture
def kit(tmp_path):
    """A packed folder of 300 kB in pieces of 100 kB."""
    content, kit = tmp_path / "content", tmp_path / "kit"
    for folder in (content / "encoders", kit):
        folder.mkdir(parents=True)
    (content / "encoders" / "weights").write_bytes(torch.randn(150_000).half().numpy().tobytes())
    (content / "note.txt").write_text("Mira Holt")
    pieces = write_pieces(content, kit, 100_000)
    (kit / MANIFEST).write_text(json.dumps({"pieces": pieces}))
    return kit


class TestArchive:
    def test_pieces_join_to_the_same_files(self, kit, tmp_path):
        pieces = sorted(path for path in kit.iterdir() if path.name != MANIFEST)
        assert len(pieces) > 1
        assert all(path.stat().st_size <= 100_000 for path in pieces)
        unpack(kit, tmp_path / "work")
        for name in ("encoders/weights", "note.txt"):
            assert (tmp_path / "work" / name).read_bytes() == (tmp_path / "content" / name).read_bytes()

    def test_a_missing_or_damaged_piece_is_named(self, kit, tmp_path):
        piece = kit / "piece-01"
        data = bytearray(piece.read_bytes())
        data[7] ^= 1
        piece.write_bytes(data)
        with pytest.raises(SystemExit, match="piece-01: The piece is damaged"):
            unpack(kit, tmp_path / "work")
        piece.unlink()
        with pytest.raises(SystemExit, match="piece-01: The piece is missing"):
            unpack(kit, tmp_path / "work")
        assert not (tmp_path / "work" / MANIFEST).exists()

    def test_what_was_unpacked_is_not_unpacked_again(self, kit, tmp_path):
        unpack(kit, tmp_path / "work")
        (kit / "piece-00").unlink()
        assert "pieces" in unpack(kit, tmp_path / "work")


def test_encoders_are_packed_in_half_precision(encoder, sample, tmp_path):
    pack({"tiny": str(encoder)}, [str(sample)], None, tmp_path / "kit", 100_000)
    manifest = unpack(tmp_path / "kit", tmp_path / "work")
    assert manifest["datasets"] == [sample.name] and len(manifest["pieces"]) > 1
    whole, packed = (
        AutoModel.from_pretrained(folder, dtype=dtype).state_dict()
        for folder, dtype in ((encoder, torch.float16), (tmp_path / "work" / "encoders" / "tiny", "auto"))
    )
    assert whole.keys() == packed.keys() and all(torch.equal(whole[name], packed[name]) for name in whole)
    assert (tmp_path / "work" / "data" / sample.name / "dataset.json").is_file()


@pytest.fixture
def session(tmp_path, monkeypatch):
    """A session whose runs train nothing (`support/entry_stand_in.py`); `session(budget, rows, ...)`."""
    entry, data = tmp_path / "entry", tmp_path / "work" / "data" / "otters"
    entry.mkdir()
    shutil.copy(Path(__file__).parents[1] / "support" / "entry_stand_in.py", entry / "run_mner.py")
    behave(entry)
    write_fictional(data)
    monkeypatch.chdir(entry)

    def make(budget, rows, *further, seeds=(0,), jobs=1):
        arguments = argparse.Namespace(
            work=tmp_path / "work", out=tmp_path / "out.json", rows=rows, seeds=list(seeds), jobs=jobs, budget=budget,
            encoder="tiny", dataset="otters", recipe=ROOT / "configuration" / "mner.yaml", preset=None,
        )  # fmt: skip
        return Session(arguments, list(further))

    return make


class TestSession:
    def test_every_run_is_in_the_file(self, session, tmp_path):
        made = session(120, ["text", "student"], seeds=(0, 1), jobs=2)
        made.train()
        written = json.loads((tmp_path / "out.json").read_text())
        found = {(run["row"], run["seed"]) for run in written["runs"] if run["predictions"]["test"]}
        assert found == {(row, seed) for row in ("text", "inline", "student") for seed in (0, 1)}
        assert written["summary"]["student, test, prompt view"]["runs"] == 2
        assert len(calls(tmp_path / "entry")) == 6

    def test_when_the_time_is_up_what_runs_is_stopped_and_what_is_done_is_kept(self, session, tmp_path, monkeypatch):
        session(600, ["text"]).train()
        behave(tmp_path / "entry", sleep=3600)
        made = session(600, ["text", "caption"])
        monkeypatch.setattr(made, "left", lambda: 2 - len(calls(tmp_path / "entry")))
        made.train()
        text, caption = sorted(json.loads((tmp_path / "out.json").read_text())["runs"], key=lambda run: "log" in run)
        assert text["row"] == "text" and caption["row"] == "caption" and caption["seconds"] > 0


def test_every_row_is_a_valid_run(session):
    made = session(1, [], "--max_steps", "5", "--use_cpu", "true", "--bf16", "false", seeds=(0, 1))
    plan = Plan(read_sweep(made.sweep()))
    assert len({run.row for run in plan.runs}) == 10
    for run in plan.runs:
        words = [word for name, value in run.settings.items() for word in (f"--{name}", *listed(value))]
        model, data, training = parse_run([*words, "--dataset_dir", "data", "--output_dir", "out"])
        assert (training.max_steps, training.num_train_epochs, data.max_length) == (5, 15, 256)
        assert (training.use_cpu, training.bf16, model.model_name_or_path) == (True, False, str(made.encoder))
        view = "knowledge" if training.eval_views == "knowledge" else "prompt"
        assert training.metric_for_best_model == f"eval_{view}_f1"
        ViewSettings(tuple(data.knowledge_columns), data.max_length, None, data.knowledge_placement)
        teachers = {"student": "inline", "control": "text"}.get(run.row)
        needed = [(need.row, need.seed) for need in run.needs.get("distill_from", ())]
        assert needed == ([(teachers, 0), (teachers, 1)] if teachers else [])


def listed(value) -> list[str]:
    return [str(each).lower() if isinstance(each, bool) else str(each) for each in
            (value if isinstance(value, list) else [value])]  # fmt: skip


def test_summary_counts_each_view():
    run = {"row": "CPD", "splits": {"test": {"prompt": {"f1": 0.5}, "knowledge": {"f1": 0.7}}}}
    assert {name: value["mean"] for name, value in summary([run, {"row": "text", "log": "failed"}]).items()} == {
        "CPD, test, prompt view": 50,
        "CPD, test, knowledge view": 70,
    }


def test_tags_of_both_views(tmp_path):
    path = tmp_path / "predictions.test.jsonl"
    path.write_text(json.dumps({"id": "7", "prompt": ["O", "B-LOC"], "knowledge": ["O", "O"]}) + "\n")
    assert tags(path) == {"prompt": {"7": "O B-LOC"}, "knowledge": {"7": "O O"}}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_pack_and_run_end_to_end(encoder, sample, tmp_path):
    """Pack a tiny encoder, then train teachers and students on two steps each from the pieces alone."""
    call("pack.py", f"--encoder tiny={encoder} --dataset {sample} --out {tmp_path}/kit")
    call(
        "run.py",
        f"--kit {tmp_path}/kit --work {tmp_path}/work --out {tmp_path}/out.json --encoder tiny --dataset sample "
        f"--recipe {ROOT}/configuration/sample_mner.yaml --seeds 0 --jobs 1 --budget 1500 --measure_seconds 0 "
        "--rows text student CPD --max_steps 2 --use_cpu true --bf16 false --eval_strategy steps "
        "--eval_steps 2 --max_train_samples 8 --max_eval_samples 4 --max_predict_samples 4",
    )
    written = json.loads((tmp_path / "out.json").read_text())
    assert len(written["runs"]) == 4 and all("splits" in run for run in written["runs"]), written["runs"]
    assert "CPD, test, knowledge view" in written["summary"]


def call(script: str, options: str) -> None:
    folder = Path(__file__).parents[2] / "benchmarks" / "gpu_kit"
    subprocess.run([sys.executable, str(folder / script), *options.split()], check=True)
