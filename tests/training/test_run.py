"""Whole runs on a tiny fictional data set: everything that a run leaves behind, for both tasks."""

import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from huggingface_hub import ModelCard
from packaging.version import Version
from safetensors.torch import load_file
from seqeval.metrics import f1_score, precision_score, recall_score
from support.hub_stand_in import WRITER, HubStandIn, use_hub
from support.tiny_models import TOKENIZER_KINDS, tiny_encoder_config

import run_mner
import run_mre
from modeling_cotpd import CoTPDForRelationExtraction, CoTPDForTokenClassification
from modeling_cotpd.data.entities import EntityReader, entity_tags
from modeling_cotpd.data.prepared import DatasetInfo, write_prepared
from modeling_cotpd.data.schema import make_split
from modeling_cotpd.data.words import word_spans
from modeling_cotpd.errors import DataError, Interrupted, SettingError
from modeling_cotpd.training.arguments import DataArguments, ModelArguments
from modeling_cotpd.training.callbacks import STAGING_CHECKPOINT
from modeling_cotpd.training.results import output_folder
from modeling_cotpd.training.run import started
from modeling_cotpd.training.trainer import CoTPDTrainer
from modeling_cotpd.training.training_args import CoTPDTrainingArguments

TAGS = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
RELATIONS = ["None", "knows", "lives_in"]
PEOPLE = [["Mira", "Holt"], ["Dario"], ["Fenwick", "Otter"]]
PLACES = [["Quarry", "Lane"], ["Tarn"], ["Brightwater"]]
VERBS = [["sings", "at"], ["left"], ["is", "so", "proud", "of"]]


def sentence(index: int) -> tuple[list[str], list[str], list[str]]:
    return PEOPLE[index % 3], VERBS[index // 3 % 3], PLACES[index // 9 % 3]


def mner_row(index: int, name: str) -> dict:
    person, verb, place = sentence(index)
    tags = ["B-PER", "I-PER"][: len(person)] + ["O"] * len(verb) + ["B-LOC", "I-LOC"][: len(place)]
    return {
        "id": f"{name}-{index}",
        "tokens": [*person, *verb, *place],
        "ner_tags": tags,
        "caption": f"somebody near {' '.join(place)}" if index % 4 else "",
        "cot_noun": f"{' '.join(person)} is a person",
    }


def mre_row(index: int, name: str) -> dict:
    person, verb, place = sentence(index)
    start = len(person) + len(verb)
    spans = {"start": 0, "end": len(person)}, {"start": start, "end": start + len(place)}
    head, tail = spans if index % 2 else spans[::-1]
    relation = RELATIONS[index // 3 % 3]
    row = {key: value for key, value in mner_row(index, name).items() if key != "ner_tags"}
    return {**row, "head": head, "tail": tail, "relation": relation}


def prepared(folder: Path, task: str = "mner", names=None) -> str:
    names = names or (TAGS if task == "mner" else RELATIONS)
    make = mner_row if task == "mner" else mre_row
    splits = {
        name: make_split([make(index + start, name) for index in range(size)], task, names, name)
        for name, size, start in (("train", 12, 0), ("validation", 6, 12), ("test", 9, 18))
    }
    write_prepared(splits, DatasetInfo("fiction", task, list(names), captioner="by hand"), folder)
    return str(folder)


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> dict[str, str]:
    """Prepared folders of both tasks and a tiny encoder with its tokenizer."""
    root = tmp_path_factory.mktemp("run")
    tokenizer = TOKENIZER_KINDS["wordpiece"]()
    torch.manual_seed(0)
    encoder = transformers.AutoModel.from_config(tiny_encoder_config("bert", vocab_size=len(tokenizer)))
    encoder.save_pretrained(root / "encoder")
    tokenizer.save_pretrained(root / "encoder")
    return {
        "encoder": str(root / "encoder"),
        "mner": prepared(root / "mner"),
        "mre": prepared(root / "mre", "mre"),
        "root": str(root),
    }


LEARNS = {"max_steps": 40, "eval_strategy": "steps", "eval_steps": 20, "learning_rate": 5e-3}
RUNS = {"mner": run_mner.run, "mre": run_mre.run}
HEADS = {"mner": CoTPDForTokenClassification, "mre": CoTPDForRelationExtraction}


def run_task(task: str, places: dict, out, model=None, data=None, **training) -> dict:
    training = {
        "do_train": True,
        "do_eval": True,
        "do_predict": True,
        "num_train_epochs": 1,
        "learning_rate": 1e-3,
        "per_device_train_batch_size": 4,
        "report_to": "none",
        "use_cpu": True,
        "disable_tqdm": True,
        "save_strategy": "no",
        "logging_steps": 1,
        "seed": 5,
        **training,
    }
    model = {"model_name_or_path": places["encoder"], "prompt_length": 3, **(model or {})}
    data = {"dataset_dir": places[task], "max_length": 48, **(data or {})}
    return RUNS[task](
        ModelArguments(**model),
        DataArguments(**data),
        CoTPDTrainingArguments(str(out), **training),
    )


@pytest.fixture(scope="module")
def finished(places, tmp_path_factory) -> dict[str, Path]:
    """One finished run of each task."""
    root = tmp_path_factory.mktemp("finished")
    for task in HEADS:
        run_task(task, places, root / task, **LEARNS)
    return {task: root / task for task in HEADS}


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def texts_of(folder: Path) -> list[Path]:
    return [
        path for path in folder.rglob("*") if path.is_file() and path.suffix in (".json", ".py", ".md", ".txt", "")
    ]


class TestWhatARunLeaves:
    def test_files(self, finished):
        for folder in finished.values():
            names = {path.name for path in folder.iterdir()}
            expected = {"model.safetensors", "config.json", "tokenizer.json", "results.json", "README.md", "run.json"}
            assert expected | {"predictions.test.jsonl", "predictions.validation.jsonl"} <= names
            assert {"modeling_cotpd.py", "configuration_cotpd.py", "prompt_cotpd.py", "crf_cotpd.py"} <= names
            assert {"pipeline_cotpd.py", "markers_cotpd.py"} <= names
            assert not [name for name in names if name.endswith(".tmp")]

    def test_results(self, finished, places):
        for task, folder in finished.items():
            results = json.loads((folder / "results.json").read_text("utf-8"))
            assert results["task"] == task and results["seed"] == 5 and results["train_rows"] == 12
            assert results["knowledge_columns"] == ["caption", "cot_noun"], "columns that no row fills are left out"
            assert set(results["splits"]) == {"validation", "test"}
            assert set(results["splits"]["test"]) == {"prompt", "knowledge"}
            info = json.loads((Path(places[task]) / "dataset.json").read_text("utf-8"))
            assert results["dataset"]["splits"] == info["splits"] and results["dataset"]["captioner"] == "by hand"
            assert "git_commit" in results
            # metadata may leave out what a build adds, as in 2.6.0+cu124
            assert Version(results["versions"]["torch"]).public == Version(torch.__version__).public
            assert results["settings"]["prompt_length"] == 3 and results["settings"]["alpha"] == 1.0
            assert results["training"]["train_loss"] > 0

    def test_entity_scores_are_those_of_seqeval_on_the_predictions_file(self, finished):
        results = json.loads((finished["mner"] / "results.json").read_text("utf-8"))["splits"]
        for split in ("validation", "test"):
            rows = lines(finished["mner"] / f"predictions.{split}.jsonl")
            assert [row["id"] for row in rows] == [
                f"{split}-{i}" for i in ((range(12, 18)) if split == "validation" else range(18, 27))
            ]
            for row in rows:
                assert len(row["tokens"]) == len(row["gold"]) == len(row["prompt"]) == len(row["knowledge"])
                assert row["gold"] == mner_row(int(row["id"].split("-")[1]), split)["ner_tags"]
            for view in ("prompt", "knowledge"):
                gold, guess = [row["gold"] for row in rows], [row[view] for row in rows]
                scores = results[split][view]
                assert scores["f1"] == pytest.approx(f1_score(gold, guess, zero_division=0))
                assert scores["precision"] == pytest.approx(precision_score(gold, guess, zero_division=0))
                assert scores["recall"] == pytest.approx(recall_score(gold, guess, zero_division=0))
        assert results["test"]["knowledge"]["f1"] > 0.2, "a run that learns nothing would prove nothing"

    def test_relation_scores_are_those_of_the_predictions_file(self, finished):
        results = json.loads((finished["mre"] / "results.json").read_text("utf-8"))["splits"]["test"]
        rows = lines(finished["mre"] / "predictions.test.jsonl")
        for view in ("prompt", "knowledge"):
            pairs = [(row["gold"], row[view]) for row in rows]
            hit = sum(gold == guess != "None" for gold, guess in pairs)
            scores = results[view]
            assert scores["correct_relations"] == hit
            assert scores["predicted_relations"] == sum(guess != "None" for _, guess in pairs)
            assert scores["gold_relations"] == sum(gold != "None" for gold, _ in pairs) > 0
            assert scores["accuracy"] == pytest.approx(sum(gold == guess for gold, guess in pairs) / len(pairs))

    def test_the_saved_model_predicts_what_the_predictions_file_says(self, finished):
        folder = finished["mner"]
        model = CoTPDForTokenClassification.from_pretrained(folder)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        assert tokenizer.model_max_length == model.cotpd.max_text_length == 61
        reader = EntityReader(TAGS)
        for row in lines(folder / "predictions.test.jsonl"):
            text = " ".join(row["tokens"])
            encoded = tokenizer(text, return_tensors="pt", return_offsets_mapping=True)
            offsets = encoded.pop("offset_mapping")[0].tolist()
            predicted = model(**encoded).logits[0].argmax(-1).numpy()
            entities = reader(text, offsets, predicted, np.ones(len(predicted)))
            assert entity_tags(entities, word_spans(row["tokens"])) == row["prompt"]

    def test_model_card(self, finished, places):
        for folder in finished.values():
            card = ModelCard.load(folder / "README.md")
            results = json.loads((folder / "results.json").read_text("utf-8"))["splits"]["test"]
            (entry,) = card.data.to_dict()["model-index"]
            (result,) = entry["results"]
            assert result["dataset"]["name"] == "fiction"
            found = {metric["name"]: metric["value"] for metric in result["metrics"]}
            name = "Entity F1" if "Entity F1, prompt view" in found else "Micro F1 without None"
            for view in ("prompt", "knowledge"):
                assert found[f"{name}, {view} view"] == round(results[view]["f1"], 4)
            assert card.data.to_dict()["library_name"] == "transformers" and "cotpd" in card.data.tags
            assert f"{results['prompt']['f1']:.4f}" in card.text and "conditional, N = 3" in card.text
            assert places["root"] not in card.content and "| encoder | encoder |" in card.text
            assert "`B-PER`" in card.text or "`lives_in`" in card.text
            assert card.data.to_dict()["widget"][0]["text"] and "| epoch | step |" in card.text

    def test_no_exported_file_names_a_place_on_this_machine(self, finished, places):
        for folder in finished.values():
            for name in ("config.json", "tokenizer_config.json", "tokenizer.json", "README.md"):
                text = (folder / name).read_text("utf-8")
                for place in (places["root"], str(folder), str(Path(__file__).parents[2]), str(Path.home()) + "/"):
                    assert place not in text, f"{name} holds {place}"

    def test_same_seed_same_run(self, finished, places, tmp_path):
        run_task("mner", places, tmp_path / "again", **LEARNS)
        for name in ("predictions.test.jsonl", "model.safetensors"):
            assert (tmp_path / "again" / name).read_bytes() == (finished["mner"] / name).read_bytes()


class TestVariants:
    @pytest.mark.parametrize(
        ("model", "data", "training"),
        [
            ({"prompt_type": "none"}, {"knowledge_columns": ["none"]}, {}),
            ({"prompt_type": "none"}, {"knowledge_columns": ["caption"]}, {"alpha": 0.0, "eval_views": "knowledge"}),
            ({"prompt_type": "prefix", "use_crf": True}, {}, {"eval_views": "prompt"}),
            ({"prompt_type": "unconditional"}, {"max_labelled_samples": 5}, {"alpha_schedule": "linear"}),
        ],
        ids=["text only", "knowledge at test time", "prefix and crf", "unlabelled rows"],
    )
    def test_mner(self, places, tmp_path, model, data, training):
        results = run_task("mner", places, tmp_path / "out", model, data, do_eval=False, **training)
        views = {"knowledge": {"knowledge"}, "prompt": {"prompt"}}.get(
            training.get("eval_views"),
            {"prompt", "knowledge"} if data != {"knowledge_columns": ["none"]} else {"prompt"},
        )
        assert set(results["splits"]) == {"test"} and set(results["splits"]["test"]) == views
        assert set(lines(tmp_path / "out" / "predictions.test.jsonl")[0]) == {
            *("id", "tokens", "gold", "uncertainty"),
            *views,
        }

    def test_best_checkpoint_by_a_view_s_metric(self, places, tmp_path):
        run_task(
            "mner",
            places,
            tmp_path / "out",
            num_train_epochs=3,
            eval_strategy="epoch",
            save_strategy="epoch",
            load_best_model_at_end=True,
            metric_for_best_model="eval_prompt_f1",
            greater_is_better=True,
        )
        state = json.loads(next((tmp_path / "out").glob("checkpoint-*/trainer_state.json")).read_text("utf-8"))
        logged = [log for log in state["log_history"] if "eval_prompt_f1" in log]
        assert {"eval_prompt_f1", "eval_knowledge_f1", "eval_prompt_strict_f1", "eval_loss"} <= logged[0].keys()

    def test_an_encoder_with_few_positions(self, places, tmp_path, caplog):
        """max_length 512, the default, with an encoder of 64 positions: views end there, and the log says so."""
        with caplog.at_level(logging.WARNING, "modeling_cotpd.training.run"):
            run_task("mner", places, tmp_path / "out", data={"max_length": 512})
        assert "The encoder reads 64 subword tokens" in caplog.text


class TestContinuing:
    def test_evaluating_a_finished_model_gives_its_scores(self, finished, places, tmp_path, monkeypatch):
        for task, folder in finished.items():
            before = json.loads((folder / "results.json").read_text("utf-8"))
            again = run_task(
                task, places, tmp_path / task, {"model_name_or_path": str(folder), "prompt_length": 8}, do_train=False
            )
            assert again["splits"] == before["splits"]
            assert again["train_rows"] == 0 and again["settings"]["prompt_length"] == 3
            assert "N = 3" in (tmp_path / task / "README.md").read_text("utf-8")

    def test_training_goes_on_from_a_checkpoint(self, finished, places, tmp_path):
        for task, folder in finished.items():
            run_task(task, places, tmp_path / task, {"model_name_or_path": str(folder)}, max_steps=1)
            old, new = (transformers.AutoTokenizer.from_pretrained(place) for place in (folder, tmp_path / task))
            assert len(old) == len(new)

    def test_other_labels_are_an_error(self, finished, places, tmp_path):
        names = ["O", "B-BAND", "I-BAND", "B-LOC", "I-LOC", "B-PER", "I-PER"]
        other = prepared(tmp_path / "other", "mner", names)
        with pytest.raises(
            SettingError, match=r"The checkpoint predicts \['O', 'B-LOC'.*the data has \['O', 'B-BAND'"
        ):
            run_task(
                "mner", places, tmp_path / "out", {"model_name_or_path": str(finished["mner"])}, {"dataset_dir": other}
            )

    def test_the_other_task_s_checkpoint_is_an_error(self, finished, places, tmp_path):
        with pytest.raises(OSError, match="is a CoTPDForRelationExtraction, not a CoTPDForTokenClassification"):
            run_task("mner", places, tmp_path / "out", {"model_name_or_path": str(finished["mre"])})

    def test_resuming(self, places, tmp_path):
        """A run that was cut off after two of four steps ends where an uninterrupted one does."""
        settings = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2}
        run_task("mner", places, tmp_path / "whole", **settings)
        run_task("mner", places, tmp_path / "cut", **settings)
        for name in ("model.safetensors", "results.json"):
            (tmp_path / "cut" / name).unlink()
        shutil.rmtree(tmp_path / "cut" / "checkpoint-4")
        (tmp_path / "cut" / STAGING_CHECKPOINT / "checkpoint-4").mkdir(parents=True)  # as a run that was killed there
        run_task("mner", places, tmp_path / "cut", resume_from_checkpoint="true", **settings)
        whole, cut = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "cut"))
        assert whole.keys() == cut.keys()
        for name, value in whole.items():
            torch.testing.assert_close(cut[name], value, atol=1e-7, rtol=0)

    @pytest.mark.parametrize(
        "changed", [{"optim": "sgd"}, {"neftune_noise_alpha": 5.0}, {"train_sampling_strategy": "sequential"}], ids=str
    )
    def test_resuming_with_another_setting(self, places, tmp_path, changed):
        settings = {"max_steps": 2, "save_strategy": "steps", "save_steps": 1, "do_eval": False, "do_predict": False}
        run_task("mner", places, tmp_path, **settings)
        with pytest.raises(SettingError, match=f"has {next(iter(changed))} = None, this one"):
            run_task("mner", places, tmp_path, resume_from_checkpoint="true", **settings, **changed)

    def test_an_output_folder_with_another_run(self, finished, places):
        for again in ({}, {"resume_from_checkpoint": "false"}):
            with pytest.raises(SettingError, match="holds another run"):
                run_task("mner", places, finished["mner"], **LEARNS, **again)


class TestRefusals:
    def test_a_run_without_a_task(self, places, tmp_path):
        with pytest.raises(SettingError, match=r"neither trains nor evaluates\. Name a recipe"):
            run_task("mner", places, tmp_path / "out", do_train=False, do_eval=False, do_predict=False)

    def test_a_student_without_a_teacher(self, places, tmp_path):
        with pytest.raises(SettingError, match="needs finished models"):
            run_task("mner", places, tmp_path / "out", {"distill_from": []})

    def test_nothing_would_be_trained(self, places, tmp_path):
        with pytest.raises(SettingError, match="leaves the prompt untrained"):
            run_task("mner", places, tmp_path / "out", alpha=0.0)

    def test_a_view_that_does_not_exist(self, places, tmp_path):
        with pytest.raises(SettingError, match="eval_views=knowledge needs knowledge_columns"):
            run_task("mner", places, tmp_path / "out", data={"knowledge_columns": []}, eval_views="knowledge")

    @pytest.mark.parametrize("length", [64, 500])
    def test_n_too_large(self, places, tmp_path, length):
        with pytest.raises(SettingError, match=f"prompt_length must leave room .*64 positions, got {length}"):
            run_task("mner", places, tmp_path / "out", {"prompt_length": length})

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"report_to": "nothing"}, "nothing"),
            ({"save_strategy": "best"}, "metric_for_best_model"),
        ],
    )
    def test_what_the_trainer_refuses(self, places, tmp_path, settings, message):
        with pytest.raises(SettingError, match=message):
            run_task("mner", places, tmp_path / "out", **settings)

    def test_a_wrong_prompt_type(self, places, tmp_path):
        with pytest.raises(SettingError, match="prompt_type must be one of"):
            run_task("mner", places, tmp_path / "out", {"prompt_type": "soft"})

    def test_a_text_longer_than_the_encoder(self, places, tmp_path):
        with pytest.raises(
            DataError, match=r"row 'train-\d+': The text has \d+ subword tokens; the model reads at most 2 "
        ):
            run_task("mner", places, tmp_path / "out", {"prompt_length": 62})


class TestLora:
    @pytest.mark.parametrize("task", ["mner", "mre"])
    def test_adapter_and_merged_model_agree(self, places, tmp_path, task):
        from peft import PeftModel

        out = tmp_path / "out"
        results = run_task(
            task,
            places,
            out,
            {"lora_r": 2, "use_crf": task == "mner", "prompt_layers": 2},
            max_steps=3,
            learning_rate=1e-2,
        )
        merged = HEADS[task].from_pretrained(out)
        assert not [name for name, _ in merged.named_parameters() if "lora" in name or "modules_to_save" in name]
        # what peft loads the adapter onto: the encoder as it was before, with a new prompt and head
        torch.manual_seed(99)
        base = HEADS[task].from_encoder(places["encoder"], config=type(merged.config).from_pretrained(out))
        if task == "mre":
            base.resize_token_embeddings(len(transformers.AutoTokenizer.from_pretrained(out)))
        adapted = PeftModel.from_pretrained(base.eval(), out / "adapter").eval()
        inputs = {"input_ids": torch.tensor([[2, 9, 10, 11, 12, 3]])}
        if task == "mre":
            inputs["marker_positions"] = torch.tensor([[1, 3]])
        torch.testing.assert_close(merged.eval()(**inputs).logits, adapted(**inputs).logits, atol=1e-5, rtol=0)
        plain = transformers.AutoModel.from_pretrained(places["encoder"])
        query = "encoder.layer.0.attention.self.query.weight"
        assert not torch.equal(merged.cotpd.encoder.state_dict()[query], plain.state_dict()[query]), (
            "LoRA learned nothing"
        )
        again = run_task(task, places, tmp_path / "again", {"model_name_or_path": str(out)}, do_train=False)
        assert again["splits"] == results["splits"]


class TestRunScripts:
    @pytest.mark.slow
    @pytest.mark.parametrize("task", ["mner", "mre"])
    def test_script_with_a_recipe(self, places, tmp_path, task):
        recipe = tmp_path / "recipe.yaml"
        recipe.write_text(
            f"model_name_or_path: {places['encoder']}\ndataset_dir: {places[task]}\noutput_dir: {tmp_path / 'out'}\n"
            "do_train: true\ndo_predict: true\nmax_steps: 1\nuse_cpu: true\nreport_to: none\nprompt_length: 3\n",
            "utf-8",
        )
        script = Path(__file__).parents[2] / f"run_{task}.py"
        command = [sys.executable, str(script), str(recipe), "--max_steps", "2"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        assert json.loads((tmp_path / "out" / "results.json").read_text("utf-8"))["settings"]["max_steps"] == 2
        again = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
        assert again.returncode != 0 and "holds another run" in again.stderr and "Traceback" not in again.stderr

    @pytest.mark.slow
    def test_two_processes_score_as_one(self, places, tmp_path):
        script = Path(__file__).parents[2] / "run_mner.py"
        outputs = []
        for name, launcher, batch in (
            ("one", [sys.executable], 4),
            ("two", [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone"], 2),
        ):
            flags = [
                "--model_name_or_path",
                places["encoder"],
                "--dataset_dir",
                places["mner"],
                "--prompt_length",
                "3",
            ]
            flags += [
                "--output_dir",
                str(tmp_path / name),
                "--do_train",
                "--do_predict",
                "--max_steps",
                "3",
                "--use_cpu",
            ]
            flags += ["--report_to", "none", "--per_device_train_batch_size", str(batch), "--ddp_backend", "gloo"]
            flags += ["--train_sampling_strategy", "sequential", "--classifier_dropout", "0.0", "--optim", "sgd"]
            done = subprocess.run(
                [*launcher, str(script), *flags],
                capture_output=True,
                text=True,
                check=False,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
            assert done.returncode == 0, done.stderr[-3000:]
            outputs.append(lines(tmp_path / name / "predictions.test.jsonl"))
        assert outputs[0] == outputs[1]


class TestFrozenTeachers:
    @pytest.mark.parametrize("task", list(HEADS))
    def test_a_student_of_finished_models(self, places, finished, tmp_path, task):
        teacher = str(finished[task])
        results = run_task(
            task, places, tmp_path / "out", {"distill_from": [teacher, teacher]}, {"max_labelled_samples": 4}, **LEARNS
        )
        assert set(results["splits"]["test"]) == {"prompt"}, "the student reads the text alone"
        assert results["settings"]["distill_from"] == [teacher, teacher] and results["knowledge_columns"] == []
        card = (tmp_path / "out" / "README.md").read_text("utf-8")
        assert "| knowledge view | none |" in card
        assert "| frozen teachers | 2, which read the post, caption, cot_noun" in card

    @pytest.mark.parametrize("task", list(HEADS))
    def test_without_a_teacher_rows_without_labels_are_left_out(self, places, tmp_path, task):
        data = {"max_labelled_samples": 4, "knowledge_columns": []}
        results = run_task(task, places, tmp_path / "out", {"prompt_type": "none"}, data, max_steps=1)
        assert results["train_rows"] == 4

    def test_settings_that_leave_them_without_effect(self, places, finished, tmp_path):
        teachers = {"distill_from": [str(finished["mner"])]}
        with pytest.raises(SettingError, match="alpha=0"):
            run_task("mner", places, tmp_path / "a", teachers, alpha=0.0)
        with pytest.raises(SettingError, match="no knowledge view"):
            run_task("mner", places, tmp_path / "b", teachers, eval_views="knowledge")

    def test_changes_to_the_encoder_s_configuration(self, places, tmp_path):
        changes = {"encoder_config_overrides": "attention_probs_dropout_prob=0.25"}
        run_task("mner", places, tmp_path / "out", changes, max_steps=1)
        config = json.loads((tmp_path / "out" / "config.json").read_text("utf-8"))
        assert config["encoder_config"]["attention_probs_dropout_prob"] == 0.25
        with pytest.raises(SettingError, match="encoder_config_overrides"):
            run_task("mner", places, tmp_path / "bad", {"encoder_config_overrides": "no_such_thing=1"})


class TestPublishing:
    def test_a_run_publishes_itself(self, places, tmp_path, monkeypatch):
        with HubStandIn() as hub:
            use_hub(monkeypatch, hub)
            asked = {"push_to_hub": True, "hub_model_id": "tester/r", "hub_token": WRITER, "save_strategy": "steps"}
            run_task("mre", places, tmp_path / "out", max_steps=2, save_steps=1, **asked)
            files = hub.files("tester/r")
        assert len(hub.repos["tester/r"]["commits"]) == 1
        assert {"model.safetensors", "tokenizer.json", "pipeline_cotpd.py", "results.json"} <= files.keys()
        assert not [name for name in files if name.endswith((".bin", ".pt", ".jsonl")) or "checkpoint" in name]
        card = files["README.md"].decode()
        assert "# tester/r" in card and "Micro F1 without None, prompt view" in card and "| captions | by hand" in card
        config = json.loads(files["config.json"])
        assert "relation-extraction" in config["custom_pipelines"]
        assert files["model.safetensors"] == (tmp_path / "out" / "model.safetensors").read_bytes()


def test_a_pickle_is_not_resumed_from(places, tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(OSError, match="only a pickle checkpoint"):
        run_task("mner", places, tmp_path / "out", resume_from_checkpoint=str(tmp_path / "old"))


def unlabelled(folder: Path, split: str) -> str:
    """Data of named entities of which one split has no labels."""
    splits = {
        name: make_split(
            [{**mner_row(index + start, name), **({"ner_tags": None} if name == split else {})} for index in range(6)],
            "mner", TAGS, name,
        )
        for name, start in (("train", 0), ("validation", 12), ("test", 18))
    }  # fmt: skip
    write_prepared(splits, DatasetInfo("fiction", "mner", TAGS), folder)
    return str(folder)


class TestSplitsWithoutLabels:
    @pytest.mark.parametrize(("split", "other"), [("test", "validation"), ("validation", "test")])
    def test_they_are_predicted_and_the_others_are_scored(self, places, tmp_path, split, other):
        data = {"dataset_dir": unlabelled(tmp_path / "data", split)}
        results = run_task("mner", places, tmp_path / "out", data=data)
        assert set(results["splits"]) == {other}
        assert len(lines(tmp_path / "out" / f"predictions.{split}.jsonl")) == 6
        assert lines(tmp_path / "out" / f"predictions.{split}.jsonl")[0]["gold"] is None
        assert (tmp_path / "out" / "results.json").is_file() and (tmp_path / "out" / "README.md").is_file()


class TestNoKnowledge:
    def test_one_view_and_one_sentence(self, places, tmp_path, caplog):
        rows = {
            name: [{key: mner_row(i, name)[key] for key in ("id", "tokens", "ner_tags")} for i in range(6)]
            for name in ("train", "test")
        }
        splits = {name: make_split(each, "mner", TAGS, name) for name, each in rows.items()}
        write_prepared(splits, DatasetInfo("fiction", "mner", TAGS), tmp_path / "data")
        with caplog.at_level(logging.WARNING):
            results = run_task("mner", places, tmp_path / "out", data={"dataset_dir": str(tmp_path / "data")})
        said = [
            record.getMessage()
            for record in caplog.records
            if "no captions and no explanations" in record.getMessage()
        ]
        assert len(said) == 1 and "trains on the text alone" in said[0] and "cotpd elicit" in said[0]
        assert set(results["splits"]["test"]) == {"prompt"} and results["knowledge_columns"] == []
        card = (tmp_path / "out" / "README.md").read_text("utf-8")
        assert "| knowledge view | none |" in card and "The model reads the post alone." in card
        data = {"dataset_dir": str(tmp_path / "data")}
        with pytest.raises(SettingError, match="no row has knowledge"):
            run_task("mner", places, tmp_path / "b", data=data, eval_views="knowledge")
        with pytest.raises(SettingError, match=r"no validation split.*--eval_strategy no"):
            run_task("mner", places, tmp_path / "c", data=data, eval_strategy="epoch")


class TestCheckpoints:
    SETTINGS = {"max_steps": 2, "save_strategy": "steps", "save_steps": 1, "do_eval": False, "do_predict": False}

    @pytest.mark.parametrize("missing", ["optimizer.pt", "scheduler.pt", "trainer_state.json"])
    def test_a_part_is_missing(self, places, tmp_path, missing):
        run_task("mner", places, tmp_path, **self.SETTINGS)
        (tmp_path / "checkpoint-2" / missing).unlink()
        with pytest.raises(SettingError, match=f"checkpoint-2: The checkpoint has no {missing}, so training cannot"):
            run_task("mner", places, tmp_path, resume_from_checkpoint="true", **self.SETTINGS)

    @pytest.mark.parametrize("damaged", ["optimizer.pt", "scheduler.pt", "trainer_state.json"])
    def test_a_part_is_cut(self, places, tmp_path, damaged):
        run_task("mner", places, tmp_path, **self.SETTINGS)
        path = tmp_path / "checkpoint-2" / damaged
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(SettingError, match=f"checkpoint-2: The checkpoint's {damaged} is cut or damaged"):
            run_task("mner", places, tmp_path, resume_from_checkpoint="true", **self.SETTINGS)

    def test_weights_are_cut(self, places, tmp_path):
        run_task("mner", places, tmp_path, **self.SETTINGS)
        path = tmp_path / "checkpoint-2" / "model.safetensors"
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(OSError, match="bytes instead of"):
            run_task("mner", places, tmp_path, resume_from_checkpoint="true", **self.SETTINGS)

    def test_no_such_checkpoint(self, places, tmp_path):
        with pytest.raises(SettingError, match="There is no such checkpoint"):
            run_task("mner", places, tmp_path, resume_from_checkpoint="nowhere", **self.SETTINGS)


class TestOneRunPerFolder:
    def test_a_second_process_is_refused(self, places, tmp_path):
        with output_folder(tmp_path / "out"), pytest.raises(SettingError, match="Another process writes this output"):
            run_task("mner", places, tmp_path / "out")

    def test_settings_of_run_and_results_agree(self, finished, places, tmp_path):
        out = tmp_path / "out"
        run_task(
            "mner", places, out, {"model_name_or_path": str(finished["mner"]), "prompt_length": 8}, do_train=False
        )
        recorded = json.loads((out / "run.json").read_text("utf-8"))
        results = json.loads((out / "results.json").read_text("utf-8"))["settings"]
        assert {name: recorded[name] for name in results} == results and results["prompt_length"] == 3


class TestInlinePlacement:
    @pytest.mark.parametrize("task", HEADS)
    def test_a_run(self, places, tmp_path, task):
        data = {"knowledge_placement": "inline", "knowledge_columns": ["caption", "cot_noun"]}
        results = run_task(task, places, tmp_path / "out", data=data)
        assert results["knowledge_placement"] == "inline" and set(results["splits"]["test"]) == {"prompt", "knowledge"}
        config = json.loads((tmp_path / "out" / "config.json").read_text("utf-8"))
        assert config["knowledge_placement"] == "inline" and config["knowledge_columns"] == ["caption", "cot_noun"]


def test_a_tokenizer_without_a_padding_token(places, tmp_path):
    encoder = Path(shutil.copytree(places["encoder"], tmp_path / "encoder"))
    tokenizer = TOKENIZER_KINDS["wordpiece"]()
    tokenizer.pad_token = None
    tokenizer.save_pretrained(encoder)
    results = run_task("mner", places, tmp_path / "out", {"model_name_or_path": str(encoder)})
    assert results["splits"]["test"]
    assert transformers.AutoTokenizer.from_pretrained(tmp_path / "out").pad_token is not None


def test_an_adapter_is_no_model(places, tmp_path):
    run_task("mner", places, tmp_path / "out", {"lora_r": 2}, max_steps=1)
    with pytest.raises(OSError, match=r"This is a LoRA adapter without its model. Name the folder"):
        run_task("mner", places, tmp_path / "b", {"model_name_or_path": str(tmp_path / "out" / "adapter")})


def test_a_cache_that_cannot_be_written(places, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", Path("/proc/nowhere"))
    monkeypatch.setenv("PATH", "/nowhere")
    results = run_task("mner", places, tmp_path / "out", max_steps=1)
    assert results["git_commit"] is None and (tmp_path / "out" / "results.json").is_file()
    assert "/proc/nowhere cannot be written" in caplog.text


def test_ctrl_c_says_which_checkpoint_is_kept(tmp_path):
    args = CoTPDTrainingArguments(str(tmp_path / "run"), use_cpu=True)
    for made, kept in (
        ("", "no checkpoint is kept. The same command begins again."),
        ("model.safetensors", "run holds a model and no checkpoint. Begin again with --overwrite_output_dir true."),
        ("checkpoint-10", "checkpoint-10 is kept. Go on from it with --resume_from_checkpoint true."),
    ):
        (tmp_path / "run" / made).mkdir(parents=True, exist_ok=True)
        with pytest.raises(Interrupted, match=kept), started(args):
            raise KeyboardInterrupt


def test_a_run_that_was_stopped_before_it_made_anything_is_no_other_run(places, tmp_path, monkeypatch):
    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(CoTPDTrainer, "training_step", stop)
        with pytest.raises(Interrupted, match="The same command begins again"):
            run_task("mner", places, tmp_path / "out")
    assert (tmp_path / "out" / "run.json").is_file()
    assert run_task("mner", places, tmp_path / "out", max_steps=1)["splits"]["test"]
    with pytest.raises(SettingError, match="holds another run"):
        run_task("mner", places, tmp_path / "out", max_steps=1)


def test_losses_only_leave_nothing_to_score(places, tmp_path):
    with pytest.raises(SettingError, match="prediction_loss_only leaves no predictions"):
        run_task("mner", places, tmp_path / "out", prediction_loss_only=True)
