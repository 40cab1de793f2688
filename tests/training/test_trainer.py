"""The Trainer: one step by hand, accumulation, processes, schedule, learning rates, views in evaluation, resuming."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from support.tiny_models import tiny_model

from modeling_cotpd import CoTPDForRelationExtraction, CoTPDForTokenClassification
from modeling_cotpd.errors import SettingError
from modeling_cotpd.training.collator import CoTPDCollator
from modeling_cotpd.training.losses import distillation_kl
from modeling_cotpd.training.tasks import best_labels
from modeling_cotpd.training.trainer import CoTPDTrainer
from modeling_cotpd.training.training_args import CoTPDTrainingArguments


def mner_rows(count: int, seed: int = 0) -> list[dict]:
    """Random posts of different lengths and label counts; every third is unlabelled."""
    random = np.random.default_rng(seed)
    rows = []
    for index in range(count):
        length = int(random.integers(3, 12))
        text = [2, *random.integers(5, 150, length).tolist(), 3]
        first = sorted(random.choice(length, size=max(1, length // 2), replace=False) + 1)
        labels = [-100] * len(text)
        if index % 3 != 2:
            for place in first:
                labels[place] = int(random.integers(0, 5))
        knowledge = text + random.integers(5, 150, int(random.integers(1, 9))).tolist() + [3]
        rows.append(
            {
                "input_ids": text,
                "labels": labels,
                "distillation_mask": [int(place in first) for place in range(len(text))],
                "knowledge_input_ids": knowledge,
            }
        )
    return rows


def mre_rows(count: int, seed: int = 0) -> list[dict]:
    random = np.random.default_rng(seed)
    return [
        {
            "input_ids": row["input_ids"],
            "labels": -100 if index % 3 == 2 else int(random.integers(0, 5)),
            "marker_positions": [1, len(row["input_ids"]) - 2],
            "knowledge_input_ids": row["knowledge_input_ids"],
        }
        for index, row in enumerate(mner_rows(count, seed))
    ]


def inline_rows(count: int, seed: int = 0) -> list[dict]:
    """As `mner_rows`, with knowledge behind the second token of the text."""
    found = []
    for row in mner_rows(count, seed):
        text, extra = row["input_ids"], row["knowledge_input_ids"][len(row["input_ids"]) :]
        positions = [place + (len(extra) if place > 1 else 0) for place in range(len(text))]
        view = {"knowledge_input_ids": [*text[:2], *extra, *text[2:]], "knowledge_text_positions": positions}
        found.append({**row, **view})
    return found


def compared_places(row: dict) -> list[int]:
    return [place for place, mask in enumerate(row["distillation_mask"]) if mask]


def text_only(rows: list[dict]) -> list[dict]:
    return [{name: value for name, value in row.items() if name != "knowledge_input_ids"} for row in rows]


def make_trainer(
    tmp_path, rows, model=None, eval_rows=None, compute_metrics=None, processing_class=None, **settings
) -> CoTPDTrainer:
    settings = {
        "per_device_train_batch_size": 4,
        "max_steps": 3,
        "learning_rate": 0.05,
        "optim": "sgd",
        "lr_scheduler_type": "constant",
        "logging_steps": 1,
        "report_to": "none",
        "save_strategy": "no",
        "use_cpu": True,
        "disable_tqdm": True,
        "train_sampling_strategy": "sequential",
        **settings,
    }
    return CoTPDTrainer(
        model=tiny_model(CoTPDForTokenClassification) if model is None else model,
        args=CoTPDTrainingArguments(str(tmp_path / "out"), **settings),
        data_collator=CoTPDCollator(0),
        train_dataset=Dataset.from_list(rows),
        eval_dataset=Dataset.from_list(eval_rows) if eval_rows else None,
        processing_class=processing_class,
        compute_metrics=compute_metrics,
        preprocess_logits_for_metrics=best_labels,
    )


def trained(trainer: CoTPDTrainer) -> dict[str, torch.Tensor]:
    trainer.train()
    return {name: value.detach().clone() for name, value in trainer.model.named_parameters()}


def assert_same(given: dict, expected: dict, atol: float = 1e-6) -> None:
    assert given.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(
            given[name], value, atol=atol, rtol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )


def loss_by_hand(model, rows, alpha=1.0, temperature=1.0, prompt_weight=0.0, detach=False) -> dict[str, torch.Tensor]:
    """Row by row, without padding: sums of NLL over labelled and of KL over compared positions, then means."""
    sums = {"knowledge_nll": 0.0, "prompt_nll": 0.0, "kl": 0.0}
    labelled = compared = 0
    for row in rows:
        output = model(
            input_ids=torch.tensor([row["input_ids"]]), knowledge_input_ids=torch.tensor([row["knowledge_input_ids"]])
        )
        prompt, knowledge = output.logits[0].log_softmax(-1), output.knowledge_logits[0].log_softmax(-1)
        for place, label in enumerate(row["labels"]):
            if label != -100:
                labelled += 1
                sums["knowledge_nll"] -= knowledge[place, label]
                sums["prompt_nll"] -= prompt[place, label]
        teacher = output.knowledge_logits[0].detach() if detach else output.knowledge_logits[0]
        for place in compared_places(row):
            compared += 1
            p, q = (logits[place] / temperature for logits in (teacher, output.logits[0]))
            sums["kl"] += temperature**2 * (p.softmax(-1) * (p.log_softmax(-1) - q.log_softmax(-1))).sum()
    parts = {name: value / (compared if name == "kl" else labelled) for name, value in sums.items()}
    loss = parts["knowledge_nll"] + alpha * parts["kl"] + prompt_weight * parts["prompt_nll"]
    return {**parts, "loss": loss}


class TestOneStep:
    @pytest.mark.parametrize(
        "settings",
        [
            {},
            {"alpha": 0.3},
            {"temperature": 2.5},
            {"prompt_nll_weight": 0.7},
            {"detach_knowledge_view": True, "alpha": 2.0},
        ],
        ids=str,
    )
    def test_a_step_by_hand(self, tmp_path, settings):
        rows = mner_rows(4)
        model = tiny_model(CoTPDForTokenClassification)
        expected = loss_by_hand(
            model,
            rows,
            settings.get("alpha", 1.0),
            settings.get("temperature", 1.0),
            settings.get("prompt_nll_weight", 0.0),
            settings.get("detach_knowledge_view", False),
        )
        expected["loss"].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        stepped = {name: (value - 0.05 * value.grad).detach() for name, value in model.named_parameters()}
        trainer = make_trainer(tmp_path, rows, max_steps=1, **settings)
        assert_same(trained(trainer), stepped)
        log = trainer.state.log_history[0]
        for name in ("knowledge_nll", "prompt_nll", "kl", "loss"):
            assert log[name] == pytest.approx(expected[name].item(), abs=2e-4 if name == "loss" else 1e-5), name
        assert log["alpha"] == settings.get("alpha", 1.0)

    def test_rows_without_labels_contribute_kl_alone(self, tmp_path):
        rows = [{**row, "labels": [-100] * len(row["labels"])} for row in mner_rows(4)]
        trainer = make_trainer(tmp_path, rows, max_steps=1)
        before = {name: value.detach().clone() for name, value in trainer.model.named_parameters()}
        after = trained(trainer)
        log = trainer.state.log_history[0]
        assert log["knowledge_nll"] == 0 and log["kl"] > 0 and log["loss"] == pytest.approx(log["kl"], abs=1e-4)
        assert not torch.equal(before["cotpd.prompt.queries"], after["cotpd.prompt.queries"])

    def test_unlabelled_rows_do_not_thin_out_the_labelled(self, tmp_path):
        """NLL is a mean over labelled positions: rows without labels beside them change nothing of it."""
        rows = mner_rows(4)
        both = make_trainer(tmp_path, rows, max_steps=1, alpha=0.0)
        alone = make_trainer(tmp_path, [row for i, row in enumerate(rows) if i % 3 != 2], max_steps=1, alpha=0.0)
        assert_same(trained(both), trained(alone))

    def test_without_knowledge_inputs_the_loss_is_the_prompt_view_s(self, tmp_path):
        rows = text_only(mner_rows(4))
        for weight in (0.0, 0.5):
            trainer = make_trainer(tmp_path, rows, max_steps=1, prompt_nll_weight=weight)
            trainer.train()
            log = trainer.state.log_history[0]
            assert log["loss"] == pytest.approx(log["prompt_nll"], abs=1e-4)
            assert not {"kl", "knowledge_nll", "alpha"} & log.keys()

    def test_frozen_targets_by_hand(self, tmp_path):
        rows = text_only(mner_rows(6))
        for index, row in enumerate(rows):
            random = torch.Generator().manual_seed(index)
            logits = torch.randn(len(row["input_ids"]), 5, generator=random).log_softmax(-1).tolist()
            row["target_log_probs"] = [
                target if mask else [] for target, mask in zip(logits, row["distillation_mask"], strict=True)
            ]
        trainer = make_trainer(tmp_path, rows, alpha=0.7, temperature=2.0)
        nll = kl = labelled = compared = 0
        for row in rows:
            logits = trainer.model(input_ids=torch.tensor([row["input_ids"]])).logits[0]
            for place, label in enumerate(row["labels"]):
                if label != -100:
                    nll, labelled = nll - logits[place].log_softmax(-1)[label], labelled + 1
            for place in compared_places(row):
                p, q = (torch.tensor(row["target_log_probs"][place]) / 2).softmax(-1), (logits[place] / 2).softmax(-1)
                kl, compared = kl + 4 * (p * (p.log() - q.log())).sum(), compared + 1
        loss = trainer.compute_loss(trainer.model, CoTPDCollator(0)(rows))
        torch.testing.assert_close(loss, nll / labelled + 0.7 * kl / compared, atol=1e-5, rtol=1e-5)

    def test_detaching_stops_the_gradient_of_kl_alone(self, tmp_path):
        rows = [{**row, "labels": [-100] * len(row["labels"])} for row in mner_rows(4)]
        for row in rows:  # nothing but knowledge holds piece 149
            row["input_ids"] = [min(piece, 148) for piece in row["input_ids"]]
            row["knowledge_input_ids"] = [*row["input_ids"], 149, 3]
        for detach in (False, True):
            trainer = make_trainer(tmp_path, rows, max_steps=1, detach_knowledge_view=detach)
            before = trainer.model.get_input_embeddings().weight[149].clone()
            trainer.train()
            assert torch.equal(before, trainer.model.get_input_embeddings().weight[149]) == detach

    def test_parts_are_averaged_since_the_last_log(self, tmp_path):
        fine = make_trainer(tmp_path, mner_rows(12), logging_steps=1)
        coarse = make_trainer(tmp_path, mner_rows(12), logging_steps=3)
        fine.train(), coarse.train()
        for name in ("knowledge_nll", "kl", "prompt_nll", "loss"):
            values = [log[name] for log in fine.state.log_history if name in log]
            assert len(values) == 3 and len(set(values)) == 3
            assert coarse.state.log_history[0][name] == pytest.approx(np.mean(values), abs=1e-4)


class TokenizerWithMask:
    """As much of a tokenizer as masking reads."""

    all_special_ids = [0, 2, 3]
    mask_token_id = 4
    model_input_names = ["input_ids"]


class TestMasking:
    def test_pieces_but_no_special_tokens_are_masked_for_the_prompt_view_alone(self, tmp_path):
        rows = mner_rows(4)
        trainer = make_trainer(tmp_path, rows, prompt_view_masking=0.5, processing_class=TokenizerWithMask())
        seen, forward = [], trainer.model.forward
        trainer.model.forward = lambda **inputs: seen.append(inputs) or forward(**inputs)
        batch = trainer.data_collator(rows)
        trainer.model.train()
        for _ in range(50):
            trainer.compute_loss(trainer.model, batch)
        shown = torch.stack([inputs["input_ids"] for inputs in seen])
        text = batch["input_ids"].expand_as(shown)
        special = torch.isin(text, torch.tensor([0, 2, 3]))
        assert torch.equal(shown[special], text[special])
        changed = shown != text
        assert (shown[changed] == 4).all() and 0.45 < changed[~special].float().mean() < 0.55
        assert all(torch.equal(inputs["knowledge_input_ids"], batch["knowledge_input_ids"]) for inputs in seen)
        assert not torch.equal(shown[0], shown[1])

    def test_evaluation_reads_the_whole_text(self, tmp_path):
        trainer = make_trainer(tmp_path, mner_rows(4), prompt_view_masking=0.9, processing_class=TokenizerWithMask())
        trainer.model.eval()
        plain = make_trainer(tmp_path, mner_rows(4), model=trainer.model)
        batch = trainer.data_collator(mner_rows(4))
        assert trainer.compute_loss(trainer.model, batch) == plain.compute_loss(trainer.model, batch)

    def test_a_tokenizer_without_a_mask_token(self, tmp_path):
        with pytest.raises(SettingError, match=r"prompt_view_masking needs a tokenizer with a mask token"):
            make_trainer(tmp_path, mner_rows(4), prompt_view_masking=0.1)


class TestAlphaSchedule:
    def test_linear(self, tmp_path):
        trainer = make_trainer(tmp_path, mner_rows(4), alpha=2.0, alpha_schedule="linear", max_steps=4)
        trainer.train()
        logs = [log for log in trainer.state.log_history if "prompt_nll" in log]
        assert [log["alpha"] for log in logs] == [0.0, 0.5, 1.0, 1.5]
        for log in logs:
            assert log["kl"] > 1e-3
            assert log["loss"] == pytest.approx(log["knowledge_nll"] + log["alpha"] * log["kl"], abs=2e-4)

    def test_constant(self, tmp_path):
        trainer = make_trainer(tmp_path, mner_rows(4), alpha=2.0)
        trainer.train()
        assert [log["alpha"] for log in trainer.state.log_history if "kl" in log] == [2.0] * 3


class TestAccumulation:
    @pytest.mark.parametrize("kind", ["mner", "mre", "text only", "crf", "weights", "inline"])
    def test_four_times_one_equals_one_times_four(self, tmp_path, kind):
        makers = {"mre": mre_rows, "inline": inline_rows, "text only": lambda count: text_only(mner_rows(count))}
        rows = makers.get(kind, mner_rows)(12)
        settings = {"prompt_nll_weight": 0.5, "alpha": 0.3} if kind == "weights" else {}
        model_kind = CoTPDForRelationExtraction if kind == "mre" else CoTPDForTokenClassification
        results, logs = [], []
        for batch, steps in ((4, 1), (1, 4), (2, 2)):
            model = tiny_model(model_kind, use_crf=kind == "crf")
            trainer = make_trainer(
                tmp_path,
                rows,
                model,
                per_device_train_batch_size=batch,
                gradient_accumulation_steps=steps,
                **settings,
            )
            results.append(trained(trainer))
            logs.append([log for log in trainer.state.log_history if "prompt_nll" in log])
        for result, log in zip(results[1:], logs[1:], strict=True):
            assert_same(result, results[0])
            for given, expected in zip(log, logs[0], strict=True):
                for name in ("loss", "prompt_nll", "kl", "knowledge_nll"):
                    assert given.get(name, 0) == pytest.approx(expected.get(name, 0), abs=2e-4), name

    def test_the_last_incomplete_accumulation(self, tmp_path):
        """Six rows in batches of one, four to a step: the second step of the epoch holds two."""
        rows = mner_rows(6)
        one = make_trainer(
            tmp_path,
            rows,
            per_device_train_batch_size=1,
            gradient_accumulation_steps=4,
            max_steps=-1,
            num_train_epochs=1,
        )
        other = make_trainer(tmp_path, rows, per_device_train_batch_size=4, max_steps=-1, num_train_epochs=1)
        assert_same(trained(one), trained(other))


WORKER = """
import os, sys
sys.path[:0] = {paths!r}
import torch
from pathlib import Path
from test_trainer import inline_rows, make_trainer, mner_rows, mre_rows, trained
from support.tiny_models import tiny_model
from modeling_cotpd import CoTPDForRelationExtraction, CoTPDForTokenClassification
kind = sys.argv[1]
rows = {{"mre": mre_rows, "inline": inline_rows}}.get(kind, mner_rows)(8)
model = tiny_model(CoTPDForRelationExtraction if kind == "mre" else CoTPDForTokenClassification)
settings = {{"alpha_schedule": "linear"}} if kind == "linear" else {{}}
trainer = make_trainer(
    Path({folder!r}), rows, model, eval_rows=rows[:7], per_device_train_batch_size=1, gradient_accumulation_steps=2,
    ddp_backend="gloo", max_steps=4, per_device_eval_batch_size=2, **settings,
)
parameters = trained(trainer)
predictions = trainer.predict(trainer.eval_dataset)
if trainer.args.process_index == 0:
    assert trainer.args.world_size == 2, trainer.args.world_size
    torch.save([parameters, trainer.state.log_history, predictions.predictions], {folder!r} + "/result.pt")
# gloo may abort a process whose partner leaves first
trainer.accelerator.wait_for_everyone()
torch.distributed.destroy_process_group()
# a thread of torch that asks for the interpreter while that ends may abort the process
os._exit(0)
"""


class TestTwoProcesses:
    @pytest.mark.parametrize("kind", ["mner", "linear", "inline"])
    def test_two_gloo_processes_equal_one(self, tmp_path, kind):
        check_two_processes(tmp_path, kind)

    @pytest.mark.slow
    def test_relation_extraction(self, tmp_path):
        check_two_processes(tmp_path, "mre")


def check_two_processes(tmp_path: Path, kind: str) -> None:
    """The same global batch of four: 2 processes x 1 row x 2 accumulated, and 1 x 4."""
    here = Path(__file__).parent
    script = tmp_path / "worker.py"
    script.write_text(WORKER.format(paths=[str(here), str(here.parent)], folder=str(tmp_path)), "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone", str(script), kind],
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONFAULTHANDLER": "1"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    parameters, logs, predictions = torch.load(tmp_path / "result.pt", weights_only=False)
    rows = {"mre": mre_rows, "inline": inline_rows}.get(kind, mner_rows)(8)
    model = tiny_model(CoTPDForRelationExtraction if kind == "mre" else CoTPDForTokenClassification)
    settings = {"alpha_schedule": "linear"} if kind == "linear" else {}
    alone = make_trainer(tmp_path, rows, model, eval_rows=rows[:7], max_steps=4, **settings)
    assert_same(parameters, trained(alone))
    for given, expected in zip(logs[:4], alone.state.log_history[:4], strict=True):
        for name in ("knowledge_nll", "kl", "prompt_nll"):
            assert given.get(name, 0) == pytest.approx(expected.get(name, 0), abs=1e-5), name
        assert given["loss"] == pytest.approx(expected["loss"], abs=2e-4)
    for given, expected in zip(predictions, alone.predict(alone.eval_dataset).predictions, strict=True):
        width = min(given.shape[-1], expected.shape[-1])
        if kind == "mre":
            np.testing.assert_array_equal(given, expected)
        else:
            for row, (one, other) in zip(rows, zip(given[:, :width], expected[:, :width], strict=True), strict=False):
                size = len(row["input_ids"])
                np.testing.assert_array_equal(one[:size], other[:size])


class TestLearningRates:
    @pytest.mark.parametrize("lora", [False, True])
    def test_prompt_and_head_have_their_own_rate_and_keep_their_weight_decay(self, tmp_path, lora):
        model = tiny_model(CoTPDForTokenClassification, use_crf=True, prompt_layers=2)
        if lora:
            from modeling_cotpd.training.arguments import ModelArguments
            from modeling_cotpd.training.pretrained import add_lora

            model = add_lora(model, ModelArguments(lora_r=2), new_vocabulary=False)
        trainer = make_trainer(
            tmp_path, mner_rows(4), model, learning_rate=1e-3, new_parameters_learning_rate=1e-1, weight_decay=0.01
        )
        groups = trainer.create_optimizer().param_groups
        where = {id(value): group for group in groups for value in group["params"]}
        trainable = [(name, value) for name, value in trainer.model.named_parameters() if value.requires_grad]
        assert sum(len(group["params"]) for group in groups) == len(where) == len(trainable)
        for name, value in trainable:
            assert where[id(value)]["lr"] == (1e-3 if ".encoder." in name else 1e-1), name
            decayed = not ("bias" in name or "norm" in name.lower())
            assert where[id(value)]["weight_decay"] == (0.01 if decayed else 0.0), name
        rates = {where[id(value)]["lr"] for _, value in trainable}
        assert rates == {1e-3, 1e-1}

    def test_the_schedule_moves_both_rates(self, tmp_path):
        trainer = make_trainer(
            tmp_path,
            mner_rows(8),
            learning_rate=1e-3,
            new_parameters_learning_rate=1e-1,
            lr_scheduler_type="linear",
            max_steps=4,
        )
        seen = []
        step = trainer.training_step
        trainer.training_step = lambda *args: (
            seen.append(sorted({group["lr"] for group in trainer.optimizer.param_groups})),
            step(*args),
        )[1]
        trainer.train()
        assert seen == [pytest.approx([1e-3 * share, 1e-1 * share]) for share in (1, 0.75, 0.5, 0.25)]

    def test_one_rate_by_default(self, tmp_path):
        assert {group["lr"] for group in make_trainer(tmp_path, mner_rows(4)).create_optimizer().param_groups} == {
            0.05
        }

    def test_a_step_uses_the_rates(self, tmp_path):
        """With SGD a tenfold rate moves prompt and head ten times as far, and the encoder as before."""
        start = {
            name: value.detach().clone() for name, value in tiny_model(CoTPDForTokenClassification).named_parameters()
        }
        one = trained(make_trainer(tmp_path, mner_rows(4), max_steps=1))
        ten = trained(make_trainer(tmp_path, mner_rows(4), max_steps=1, new_parameters_learning_rate=0.5))
        for name, value in start.items():
            factor = 1 if ".encoder." in name else 10
            torch.testing.assert_close(ten[name] - value, (one[name] - value) * factor, atol=2e-6, rtol=1e-3)


class TestEvaluation:
    @pytest.mark.parametrize(
        ("views", "arrays"), [("prompt", ["prompt"]), ("knowledge", ["knowledge"]), ("both", ["prompt", "knowledge"])]
    )
    def test_the_views_that_are_asked_for(self, tmp_path, views, arrays):
        from modeling_cotpd.training.tasks import by_view

        rows = mner_rows(7)
        seen = []

        def metrics(prediction):
            found = by_view(prediction.predictions, views)
            seen.append(found)
            return {f"{view}_cells": float((ids[..., 0] != -100).sum()) for view, ids in found.items()}

        trainer = make_trainer(
            tmp_path, rows, eval_rows=rows, compute_metrics=metrics, eval_views=views, per_device_eval_batch_size=3
        )
        calls = []
        trainer.model.cotpd.register_forward_pre_hook(
            lambda module, args, given: calls.append(given["knowledge_input_ids"] is not None), with_kwargs=True
        )
        result = trainer.evaluate()
        assert set(calls) == {views != "prompt"}
        assert list(seen[0]) == arrays
        assert {name for name in result if name.endswith("_cells")} == {f"eval_{view}_cells" for view in arrays}
        for view, ids in seen[0].items():
            for row, predicted in zip(rows, ids, strict=True):
                output = trainer.model(
                    input_ids=torch.tensor([row["input_ids"]]),
                    knowledge_input_ids=torch.tensor([row["knowledge_input_ids"]]),
                )
                logits = output.logits if view == "prompt" else output.knowledge_logits
                np.testing.assert_array_equal(predicted[: len(row["input_ids"]), 0], logits[0].argmax(-1))
                assert (predicted[len(row["input_ids"]) :] == -100).all() or len(predicted) >= len(row["input_ids"])

    def test_relations(self, tmp_path):
        trainer = make_trainer(
            tmp_path, mre_rows(7), tiny_model(CoTPDForRelationExtraction), per_device_eval_batch_size=3
        )
        prompt, knowledge = trainer.predict(Dataset.from_list(mre_rows(7))).predictions
        assert prompt.shape == knowledge.shape == (7,)

    def test_text_only_rows_give_one_view(self, tmp_path):
        trainer = make_trainer(tmp_path, mner_rows(4))
        assert isinstance(trainer.predict(Dataset.from_list(text_only(mner_rows(5)))).predictions, np.ndarray)

    def test_eval_loss_is_that_of_training(self, tmp_path):
        rows = mner_rows(4)
        trainer = make_trainer(tmp_path, rows, eval_rows=rows, alpha=0.5)
        expected = loss_by_hand(trainer.model, rows, alpha=0.5)["loss"].item()
        assert trainer.evaluate()["eval_loss"] == pytest.approx(expected, abs=1e-5)

    def test_evaluation_leaves_no_trace_in_the_training_log(self, tmp_path):
        plain = make_trainer(tmp_path, mner_rows(12), logging_steps=3)
        evaluated = make_trainer(
            tmp_path,
            mner_rows(12),
            eval_rows=mner_rows(5, seed=9),
            logging_steps=3,
            eval_strategy="steps",
            eval_steps=1,
        )
        plain.train(), evaluated.train()
        logs = [next(log for log in t.state.log_history if "kl" in log) for t in (plain, evaluated)]
        for name in ("kl", "knowledge_nll", "prompt_nll"):
            assert logs[0][name] == logs[1][name]


class TestResuming:
    def test_resumed_equals_uninterrupted(self, tmp_path):
        settings = {
            "max_steps": 6,
            "save_strategy": "steps",
            "save_steps": 3,
            "optim": "adamw_torch",
            "learning_rate": 1e-2,
            "new_parameters_learning_rate": 2e-2,
            "lr_scheduler_type": "linear",
            "weight_decay": 0.01,
            "alpha_schedule": "linear",
            "train_sampling_strategy": "random",
            "per_device_train_batch_size": 2,
        }

        def model():
            return tiny_model(CoTPDForTokenClassification, classifier_dropout=0.3)

        whole = make_trainer(tmp_path, mner_rows(8), model(), **settings)
        expected = trained(whole)
        checkpoint = tmp_path / "out" / "checkpoint-3"
        assert checkpoint.is_dir()
        resumed = make_trainer(tmp_path, mner_rows(8), model(), **settings)
        resumed.train(resume_from_checkpoint=str(checkpoint))
        given = {name: value.detach() for name, value in resumed.model.named_parameters()}
        assert_same(given, expected, atol=1e-7)
        logs = [{log["step"]: log for log in trainer.state.log_history if "kl" in log} for trainer in (whole, resumed)]
        for step in (4, 5, 6):
            for name in ("kl", "knowledge_nll", "alpha"):
                assert logs[1][step][name] == pytest.approx(logs[0][step][name], abs=1e-6)

    def test_a_checkpoint_is_a_model(self, tmp_path):
        trainer = make_trainer(tmp_path, mner_rows(4), save_strategy="steps", save_steps=3)
        trainer.train()
        again = CoTPDForTokenClassification.from_pretrained(tmp_path / "out" / "checkpoint-3")
        assert_same(dict(again.named_parameters()), dict(trainer.model.named_parameters()), atol=0)


class TestArguments:
    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"alpha": -1.0}, "alpha must not be negative, got -1.0"),
            ({"prompt_nll_weight": -0.1}, "prompt_nll_weight must not be negative"),
            ({"temperature": 0.0}, "temperature must be positive, got 0.0"),
            ({"prompt_view_masking": 1.0}, r"prompt_view_masking must be in \[0, 1\), got 1.0"),
            ({"alpha_schedule": "cosine"}, "alpha_schedule must be one of constant, linear, got 'cosine'"),
            ({"eval_views": "all"}, "eval_views must be one of prompt, knowledge, both, got 'all'"),
            ({"new_parameters_learning_rate": 0.0}, "new_parameters_learning_rate must be positive"),
            ({"learning_rate": -1.0}, "learning_rate must not be negative"),
            ({"per_device_train_batch_size": 0}, "per_device_train_batch_size must be positive, got 0"),
            ({"gradient_accumulation_steps": 0}, "gradient_accumulation_steps must be positive"),
            ({"max_steps": 0}, "max_steps must not be 0"),
            ({"num_train_epochs": 0}, "num_train_epochs must be positive"),
            ({"seed": -1}, "seed must be in"),
            (
                {"train_sampling_strategy": "sorted"},
                "train_sampling_strategy must be one of random, sequential, group",
            ),
            ({"fp16": True, "use_cpu": True}, "fp16 must not be set on a CPU"),
            ({"alpha": math.nan}, "alpha"),
            ({"temperature": math.inf}, "temperature"),
        ],
    )
    def test_ranges(self, tmp_path, settings, message):
        with pytest.raises(SettingError, match=message):
            CoTPDTrainingArguments(str(tmp_path), **settings)

    def test_settings_that_would_have_no_effect(self, tmp_path):
        for settings in ({"use_liger_kernel": True}, {"label_smoothing_factor": 0.1}, {"batch_eval_metrics": True}):
            (name,) = settings
            with pytest.raises(SettingError, match=f"{name} must be "):
                CoTPDTrainingArguments(str(tmp_path), **settings)
        with pytest.raises(SettingError, match="compute_loss_func would take the place of the two-view loss"):
            CoTPDTrainer(
                tiny_model(CoTPDForTokenClassification),
                CoTPDTrainingArguments(str(tmp_path), use_cpu=True),
                compute_loss_func=lambda outputs, labels, num_items_in_batch: 0,
            )

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            (
                {"dataloader_drop_last": True, "per_device_train_batch_size": 64},
                "dataloader_drop_last leaves no batch",
            ),
            ({"lr_scheduler_type": "cosine_with_min_lr"}, "lr_scheduler_type: .*min_lr"),
            ({"optim": "adamw_bnb_8bit"}, "bitsandbytes"),
        ],
    )
    def test_settings_that_only_training_can_check(self, tmp_path, settings, message):
        with pytest.raises(SettingError, match=message):
            make_trainer(tmp_path, mner_rows(4), **settings).train()

    def test_defaults(self, tmp_path):
        args = CoTPDTrainingArguments(str(tmp_path))
        assert (args.alpha, args.temperature, args.detach_knowledge_view, args.prompt_nll_weight) == (
            1.0,
            1.0,
            False,
            0.0,
        )
        assert args.eval_views == "both" and args.remove_unused_columns is False and args.label_names == ["labels"]
        json.dumps(args.to_dict())


def test_an_empty_batch_of_labels_and_comparisons(tmp_path):
    """A step in which nothing counts at all gives a loss of 0 and leaves every parameter where it was."""
    nothing = {"labels": [-100], "distillation_mask": [0]}
    rows = [{**row, **{name: value * len(row["labels"]) for name, value in nothing.items()}} for row in mner_rows(4)]
    trainer = make_trainer(tmp_path, rows, max_steps=1)
    before = {name: value.detach().clone() for name, value in trainer.model.named_parameters()}
    assert_same(trained(trainer), before, atol=0)
    assert trainer.state.log_history[0]["loss"] == 0


def test_kl_here_is_the_library_s():
    """`loss_by_hand` above and the library's loss are two writings of one formula."""
    prompt, knowledge = torch.randn(3, 5), torch.randn(3, 5)
    by_hand = (knowledge.softmax(-1) * (knowledge.log_softmax(-1) - prompt.log_softmax(-1))).sum()
    torch.testing.assert_close(distillation_kl(prompt, knowledge, torch.ones(3)), by_hand)


@pytest.mark.parametrize("strategy", ["random", "group_by_length"])
def test_evaluation_keeps_the_order_of_the_rows(tmp_path, strategy):
    """The parent's sampler for group_by_length shuffles evaluation too, which mixes up rows and predictions."""
    rows = [{**row, "length": len(row["input_ids"])} for row in mner_rows(9)]
    trainer = make_trainer(tmp_path, rows, train_sampling_strategy=strategy, per_device_eval_batch_size=2)
    label_ids = trainer.predict(Dataset.from_list(rows)).label_ids
    for given, row in zip(label_ids, rows, strict=True):
        assert given[: len(row["labels"])].tolist() == row["labels"]
