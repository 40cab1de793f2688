"""The model card: how a model was trained, on what, how well it does, and how to use it."""

import re
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from modeling_cotpd.encoder_cotpd import EMBEDDED_ENCODERS
from modeling_cotpd.files import atomic_write
from modeling_cotpd.training.tasks import TASKS

NOT_RECORDED = "not recorded"

HYPERPARAMETERS = (
    "learning_rate", "new_parameters_learning_rate", "num_train_epochs", "max_steps", "per_device_train_batch_size",
    "gradient_accumulation_steps", "lr_scheduler_type", "warmup_steps", "weight_decay", "alpha", "temperature",
    "prompt_nll_weight", "prompt_view_masking", "lora_r", "bf16", "fp16",
)  # fmt: skip
LOG_ROWS = 10
BOTH_VIEWS = (
    "The prompt view reads the post alone, and it is what the code above runs. The knowledge view reads caption and "
    "explanations at test time, which an application would have to produce for every post; its score stands beside "
    "the other for comparison."
)
ONE_VIEW = "The model reads the post alone."


def encoder_label(name_or_path: str) -> str:
    """What a card calls an encoder: its name on the Hub, or that of its folder, whose place says nothing elsewhere."""
    path = Path(name_or_path)
    return path.name if path.is_dir() or path.is_absolute() else name_or_path


def write_model_card(folder: Path, results: dict, name: str) -> None:
    """Write `README.md` into a folder; see `model_card`."""
    with atomic_write(folder / "README.md") as file:
        file.write(model_card(results, name))


def model_card(results: dict, name: str) -> str:
    """The text of a card: how the model was trained, on what, and the scores of every view as `model-index`.

    Args:
        results (`dict`): What `results.json` holds; of a model without it, `{"task": ...}` alone. Whatever is missing
            is called "not recorded".
        name (`str`): The model's name: its repository on the Hub, or its folder.
    """
    task = results["task"]
    everything, dataset, settings = (results.get(key, {}) for key in ("splits", "dataset", "settings"))
    split = "test" if "test" in everything else "validation"
    scores = everything.get(split, {})
    limit = settings.get("max_predict_samples" if split == "test" else "max_eval_samples")
    encoder = results.get("encoder") or NOT_RECORDED
    _, base_model = EMBEDDED_ENCODERS.get(encoder, ("", encoder))
    # licence and language of encoder and data are not known, so nothing is claimed
    data = ModelCardData(
        library_name="transformers",
        pipeline_tag=TASKS[task].pipeline if TASKS[task].pipeline == TASKS[task].hub_type else None,
        base_model=base_model if re.fullmatch(r"[\w.-]+/[\w.-]+", base_model) else None,
        tags=["cotpd", "knowledge-distillation", "social-media", task],
        widget=_widget(task, results),
        model_name=name,
        eval_results=_evaluations(task, dataset, split, scores, limit) or None,
    )
    prompt = NOT_RECORDED
    if "prompt_type" in settings:
        prompt = f"{settings['prompt_type']}, N = {settings['prompt_length']}"
    teacher, prompts = _elicitations(dataset)
    rows, labelled = results.get("train_rows", NOT_RECORDED), settings.get("max_labelled_samples")
    card = ModelCard.from_template(
        data,
        template_path=str(Path(__file__).with_name("model_card.md")),
        name=name,
        what=TASKS[task].title,
        encoder=base_model,
        labels=", ".join(f"`{label}`" for label in results.get("label_names", ())) or NOT_RECORDED,
        reading=BOTH_VIEWS if "knowledge" in scores else ONE_VIEW,
        hyperparameters=[
            f"| {each} | {_plain(settings[each])} |"
            for each in HYPERPARAMETERS
            if settings.get(each) not in (None, 0, False, -1)
        ],
        log=_log(results.get("log", [])),
        prompt=prompt,
        frozen_teachers=_frozen_teachers(settings),
        columns=", ".join(results["knowledge_columns"]) or "none" if "knowledge_columns" in results else NOT_RECORDED,
        captions=_captions(dataset),
        explanations=_plain(dataset.get("knowledge", NOT_RECORDED)) or "none",
        teacher=teacher,
        prompts=prompts,
        seed=results.get("seed", NOT_RECORDED),
        versions=", ".join(f"{each} {version}" for each, version in results.get("versions", {}).items() if version)
        or NOT_RECORDED,
        dataset=dataset.get("name", f"The data set is {NOT_RECORDED}."),
        splits=_splits(dataset),
        rows=f"{rows}, at most {labelled} of them with labels" if labelled else rows,
        scored=f"the first {limit} rows of the {split} split" if limit else f"the {split} split",
        scores=_scores(scores),
        usage=TASKS[task].usage.format(name=name),
        intended=TASKS[task].intended,
    )
    return str(card)


def _evaluations(task: str, dataset: dict, split: str, scores: dict, limit: int | None) -> list[EvalResult]:
    gold = dataset.get("splits", {}).get(split, {}).get("gold_hash")
    facts = {"gold_sha256": gold, "first_rows": limit}
    return [
        EvalResult(
            task_type=TASKS[task].hub_type,
            task_name=TASKS[task].title,
            dataset_type=dataset.get("name", NOT_RECORDED),
            dataset_name=dataset.get("name", NOT_RECORDED),
            dataset_split=split,
            dataset_args={key: value for key, value in facts.items() if value} or None,
            metric_type=kind,
            metric_value=round(values[key], 4),
            # Not in the name of the data set: results on one data set are merged under the first one's name
            metric_name=f"{label}, {view} view",
        )
        for view, values in scores.items()
        for key, (kind, label) in TASKS[task].metrics.items()
        if key in values
    ]


def _frozen_teachers(settings: dict) -> str:
    """How many finished models taught the prompt view, and what they read."""
    teachers = settings.get("distill_from")
    if not teachers:
        return "none"
    columns = settings["knowledge_columns"] if settings["distill_from_view"] == "knowledge" else []
    return f"{len(teachers)}, which read {', '.join(['the post', *columns])}"


def _captions(dataset: dict) -> str:
    name = dataset.get("captioner", NOT_RECORDED)
    if name in ("", NOT_RECORDED):
        return name or "none"
    made = dataset.get("provenance", {}).get("captions", {})
    facts = [f"{key}: {_plain(value)}" for key, value in made.items() if value and key != "base_url"]
    return f"{_plain(name)} ({', '.join(facts) or f'the captioning model is {NOT_RECORDED}'})"


def _elicitations(dataset: dict) -> tuple[str, str]:
    """Name, mode and what it saw, of the teacher of every elicitation, and its prompts."""
    if dataset.get("knowledge") == "":
        return "none", "none"
    made = dataset.get("provenance", {}).get("knowledge", [])
    teachers = [
        ", ".join(
            _plain(value) if key == "teacher" else f"{key}: {_plain(value)}"
            for key, value in each.items()
            if key != "prompts"
        )
        for each in made
    ]
    prompts = dict.fromkeys(tag for each in made for tag in each.get("prompts", {}).values())
    return "; ".join(teachers) or NOT_RECORDED, ", ".join(f"`{tag}`" for tag in prompts) or NOT_RECORDED


def _splits(dataset: dict) -> str:
    rows = [
        [name, str(split.get("rows", NOT_RECORDED)), f"`{split.get('gold_hash', NOT_RECORDED)}`"]
        for name, split in dataset.get("splits", {}).items()
    ]
    return _table(["split", "rows", "gold hash"], rows) if rows else f"Hashes: {NOT_RECORDED}."


def _table(head: list[str], rows: Iterable[list[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows))


def example_output(task: str, model: Any, tokenizer: Any) -> Any:
    """What the pipeline answers to the card's example, with rounded scores."""
    from transformers import TokenClassificationPipeline

    from modeling_cotpd.pipeline_cotpd import RelationExtractionPipeline

    example = TASKS[task].example
    if isinstance(example, dict):
        found = RelationExtractionPipeline(model=model, tokenizer=tokenizer)(example)
        return {**found, "score": round(float(found["score"]), 4)}
    read = TokenClassificationPipeline(model=model, tokenizer=tokenizer, aggregation_strategy="simple")
    return [{**each, "score": round(float(each["score"]), 4)} for each in read(example)]


def _widget(task: str, results: dict) -> list[dict] | None:
    """The example and the model's answer, in the Hub's form."""
    if "example" not in results:
        return None
    found, example = results["example"], TASKS[task].example
    if isinstance(example, dict):
        return [{"text": example["text"], "output": [{"label": found["label"], "score": found["score"]}]}]
    return [{"text": example, "output": found}]


def _log(log: list[dict]) -> str:
    """The training log: at most ten evaluations, evenly over the training."""
    if not log:
        return "The training log is not recorded."
    shown = log[:: -max(1, -(-len(log) // LOG_ROWS))][::-1]
    columns = list(dict.fromkeys(name for row in shown for name in row))
    return _table(columns, [[f"{row[name]:.4g}" if name in row else "" for name in columns] for row in shown])


def _scores(scores: dict) -> str:
    """Scores of every view, and its F1 per entity type or relation."""
    if not scores:
        return f"The scores are {NOT_RECORDED}."
    keys = ["precision", "recall", "f1"]
    keys += ["strict_f1"] if any("strict_f1" in each for each in scores.values()) else []
    head = ["view", *(key.replace("_", " ").replace("f1", "F1") for key in keys)]
    tables = [_table(head, [[view, *(f"{values[key]:.4f}" for key in keys)] for view, values in scores.items()])]
    parts = {view: {**values.get("per_type", {}), **values.get("per_relation", {})} for view, values in scores.items()}
    if names := sorted({name for part in parts.values() for name in part}):
        rows = []
        for name in names:
            found = [part.get(name, {}) for part in parts.values()]
            support = max(each.get("support", 0) for each in found)
            rows.append([name, *(f"{each.get('f1', 0.0):.4f}" for each in found), str(support)])
        tables.append(_table(["", *(f"F1, {view} view" for view in parts), "support"], rows))
    return "\n\n".join(tables)


def _plain(value: Any) -> str:
    """A value on one line of a table, without addresses and places of the machine that it was made on."""
    if isinstance(value, list | tuple):
        return ", ".join(_plain(each) for each in value)
    text = re.sub(r"(?: at)? https?://[^\s,;]+", "", str(value))
    text = re.sub(r"^SchedulerType\.(\w+)$", lambda match: match[1].lower(), text)
    text = PurePath(text).name if PurePath(text).is_absolute() else text
    return " ".join(text.replace("|", "\\|").split())
