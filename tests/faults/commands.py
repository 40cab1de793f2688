"""Small whole runs of the long commands, for faults to hit: what to run, and what it should leave behind."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file
from support.published_runs import write_run
from support.stub_server import StubServer
from support.tiny_models import TOKENIZER_KINDS, tiny_encoder_config

import run_mner
from modeling_cotpd.cli.predict import predict
from modeling_cotpd.data.prepare import prepare
from modeling_cotpd.data.prepared import DatasetInfo, read_prepared, write_prepared
from modeling_cotpd.data.schema import make_split
from modeling_cotpd.inference import run as inference_run
from modeling_cotpd.knowledge.elicit import elicit
from modeling_cotpd.knowledge.endpoint import EndpointSettings
from modeling_cotpd.knowledge.explanation import ElicitationPlan
from modeling_cotpd.knowledge.prompt import load_prompts
from modeling_cotpd.knowledge.runner import Asking
from modeling_cotpd.training.arguments import DataArguments, ModelArguments
from modeling_cotpd.training.training_args import CoTPDTrainingArguments

TAGS = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]


@dataclass
class Long:
    """A command to break.

    Args:
        make (`Callable`): Writes what it reads, once.
        start (`Callable`): Runs it with a folder of its own, and does what a user would to go on when one is there.
        result (`Callable`): What a finished run left in that folder, to compare.
    """

    make: Callable[[], object]
    start: Callable[[Path], None]
    result: Callable[[Path], object]


def _rows(name: str, count: int) -> list[dict]:
    return [
        {
            "id": f"{name}-{index}",
            "tokens": ["Mira", "Holt", "left", f"Tarn{index % 3}"],
            "ner_tags": ["B-PER", "I-PER", "O", "B-LOC"],
            "caption": "a pier" if index % 2 else "",
        }
        for index in range(count)
    ]


def _data(folder: Path) -> None:
    splits = {
        name: make_split(_rows(name, count), "mner", TAGS, name)
        for name, count in (("train", 12), ("validation", 4), ("test", 4))
    }
    write_prepared(splits, DatasetInfo("fiction", "mner", TAGS, captioner="by hand"), folder)


def training(root: Path) -> Long:
    """Six steps with a checkpoint and an evaluation at every second one, the best model taken at the end."""

    def make() -> None:
        tokenizer = TOKENIZER_KINDS["wordpiece"]()
        torch.manual_seed(0)
        encoder = transformers.AutoModel.from_config(tiny_encoder_config("bert", vocab_size=len(tokenizer)))
        encoder.save_pretrained(root / "encoder")
        tokenizer.save_pretrained(root / "encoder")
        _data(root / "data")

    def start(folder: Path) -> None:
        run_mner.run(
            ModelArguments(model_name_or_path=str(root / "encoder"), prompt_length=3),
            DataArguments(dataset_dir=str(root / "data"), max_length=48),
            CoTPDTrainingArguments(
                str(folder / "run"),
                do_train=True,
                do_eval=True,
                do_predict=True,
                max_steps=6,
                save_strategy="steps",
                save_steps=2,
                save_total_limit=2,
                eval_strategy="steps",
                eval_steps=2,
                load_best_model_at_end=True,
                metric_for_best_model="prompt_f1",
                per_device_train_batch_size=4,
                learning_rate=1e-3,
                resume_from_checkpoint=True,
                report_to="none",
                use_cpu=True,
                disable_tqdm=True,
                log_level="error",
                seed=5,
            ),
        )

    def result(folder: Path) -> object:
        weights = load_file(folder / "run" / "model.safetensors")
        predictions = (folder / "run" / "predictions.test.jsonl").read_text("utf-8")
        scores = json.loads((folder / "run" / "results.json").read_text("utf-8"))["splits"]
        return {name: tensor.tolist() for name, tensor in weights.items()}, predictions, scores

    return Long(make, start, result)


def preparing(root: Path) -> Long:
    """The fictional corpus."""

    def start(folder: Path) -> None:
        if not (folder / "data").exists():
            prepare("sample-mner", None, folder / "data")

    def result(folder: Path) -> object:
        splits, info = read_prepared(folder / "data")
        return {name: split.to_list() for name, split in splits.items()}, info

    return Long(lambda: None, start, result)


def predicting(root: Path) -> Long:
    """Twenty posts in five windows."""

    def make() -> None:
        write_run(root / "model")
        posts = [{"id": str(number), "text": f"Mira Holt left Tarn {number}"} for number in range(20)]
        (root / "posts.jsonl").write_text("".join(json.dumps(post) + "\n" for post in posts), "utf-8")

    def start(folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        inference_run.chunks.__defaults__ = (4, 1 << 20)
        if not (folder / "entities.jsonl").exists():
            predict(str(root / "model"), root / "posts.jsonl", folder / "entities.jsonl", device="cpu")

    return Long(make, start, lambda folder: (folder / "entities.jsonl").read_bytes())


def eliciting(root: Path, server: StubServer) -> Long:
    """Twelve posts, three grains each."""
    settings = EndpointSettings("stub", base_url=server.base_url, first_delay=0.01, retries=1)

    def start(folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        if not (folder / "out").exists():
            plan = ElicitationPlan(settings, load_prompts())
            elicit(root / "data", folder / "out", folder / "store.sqlite", plan, Asking(concurrency=2))

    def result(folder: Path) -> object:
        return {name: split.to_list() for name, split in read_prepared(folder / "out")[0].items()}

    return Long(lambda: _data(root / "data"), start, result)
