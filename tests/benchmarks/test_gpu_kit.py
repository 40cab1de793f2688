"""The kit: a pruned encoder reads posts as the whole one does, pieces join or are refused, the sweep ends in time."""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from unittest.mock import ANY

import pytest
import torch
from archive import MANIFEST, unpack, write_pieces
from run import ROOT, Session, summary, tags
from support.small_sweep import behave, calls, write_fictional
from support.tiny_models import TOKENIZER_KINDS
from transformers import AutoModel
from vocabulary import needed_tokens, prune_encoder, texts_of

from experiments.plan import Plan
from experiments.sweep import read_sweep
from modeling_cotpd import CoTPDForTokenClassification
from modeling_cotpd.data.prepared import read_prepared
from modeling_cotpd.data.views import ViewSettings, build_features
from modeling_cotpd.data.words import split_at_words
from modeling_cotpd.encoder_cotpd import resolve_encoder
from modeling_cotpd.errors import SettingError
from modeling_cotpd.training.arguments import parse_run
from modeling_cotpd.training.collator import CoTPDCollator
from modeling_cotpd.training.pretrained import load_tokenizer


@pytest.fixture(scope="session")
def pruned(encoder, sample, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pruned") / "encoder"
    return folder, prune_encoder(str(encoder), [str(sample)], folder)


def logits_of(folder, sample, weights, placement):
    """Logits of both views of a new model on an encoder, on the training posts."""
    splits, info = read_prepared(sample)
    tokenizer = split_at_words(load_tokenizer(str(folder)))
    columns = ("cot_noun",) if placement == "inline" else ("caption", "cot_noun", "cot_sentence")
    features = build_features(splits["train"].select(range(12)), tokenizer, ViewSettings(columns, 192, 190, placement))
    torch.manual_seed(0)
    model = CoTPDForTokenClassification.from_encoder(str(folder), num_labels=len(info.label_names), prompt_length=2)
    own = (".encoder.", "continues_word")  # what a smaller vocabulary changes
    heads = {name: value for name, value in weights.items() if not any(part in name for part in own)}
    model.load_state_dict(heads, strict=False)
    batch = CoTPDCollator(tokenizer.pad_token_id)(list(features))
    batch.pop("distillation_mask")
    with torch.no_grad():
        outputs = model.eval()(**batch)
    return outputs.logits, outputs.knowledge_logits, model.state_dict()


class TestPruning:
    @pytest.mark.parametrize("placement", ["appended", "inline"])
    def test_logits_are_those_of_the_whole_encoder_in_half_precision(
        self, encoder, sample, pruned, placement, tmp_path
    ):
        whole = AutoModel.from_pretrained(encoder, dtype=torch.float32)
        whole.half().save_pretrained(tmp_path)
        load_tokenizer(str(encoder)).save_pretrained(tmp_path)
        prompt, knowledge, weights = logits_of(tmp_path, sample, {}, placement)
        small_prompt, small_knowledge, _ = logits_of(pruned[0], sample, weights, placement)
        assert torch.equal(prompt, small_prompt)
        assert torch.equal(knowledge, small_knowledge)
        assert knowledge.std() > 0.01

    @pytest.mark.slow
    @pytest.mark.timeout(1800)
    def test_logits_of_minilm(self, sample, tmp_path):
        minilm = resolve_encoder("embedded-minilm")
        assert prune_encoder(minilm, [str(sample)], tmp_path / "pruned") == {"before": 30522, "after": ANY}
        AutoModel.from_pretrained(minilm, dtype=torch.float32).half().save_pretrained(tmp_path / "whole")
        load_tokenizer(minilm).save_pretrained(tmp_path / "whole")
        prompt, knowledge, weights = logits_of(tmp_path / "whole", sample, {}, "inline")
        small_prompt, small_knowledge, _ = logits_of(tmp_path / "pruned", sample, weights, "inline")
        assert torch.equal(prompt, small_prompt)
        assert torch.equal(knowledge, small_knowledge)

    def test_what_does_not_occur_is_gone_and_special_tokens_stay(self, encoder, pruned):
        folder, count = pruned
        assert count["after"] < count["before"]
        whole, small = load_tokenizer(str(encoder)), load_tokenizer(str(folder))
        assert len(small) == count["after"]
        assert AutoModel.from_pretrained(folder).config.vocab_size == count["after"]
        assert small.all_special_tokens == whole.all_special_tokens
        assert small.pad_token_id == whole.pad_token_id
        assert small.convert_ids_to_tokens(small("x")["input_ids"])[0] == "[CLS]"

    def test_every_view_is_covered(self, encoder, sample):
        splits, _ = read_prepared(sample)
        row = splits["train"][0]
        texts = set(texts_of([str(sample)]))
        assert {" ".join(row["tokens"]), row["caption"], row["cot_sentence"]} <= texts
        tokenizer = load_tokenizer(str(encoder))
        brackets = tokenizer("[ ] ( )", add_special_tokens=False)["input_ids"]
        assert set(brackets) <= set(needed_tokens(tokenizer, []))

    def test_another_kind_of_tokenizer_is_refused(self, sample, tmp_path):
        kind = next(name for name in TOKENIZER_KINDS if name != "wordpiece")
        TOKENIZER_KINDS[kind]().save_pretrained(tmp_path)
        with pytest.raises(SettingError, match="not WordPiece"):
            prune_encoder(str(tmp_path), [str(sample)], tmp_path / "out")


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
