"""Case studies: what each view of a model predicts for a post, and where the queries of its prompt look."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from modeling_cotpd.data.prepared import read_prepared
from modeling_cotpd.data.schema import KNOWLEDGE_COLUMNS
from modeling_cotpd.data.views import ViewSettings, build_features, word_spans
from modeling_cotpd.errors import DataError, SettingError
from modeling_cotpd.metrics.entity_score.entity_score import entities_of
from modeling_cotpd.modeling_cotpd import (
    CoTPDForRelationExtraction,
    CoTPDForTokenClassification,
    CoTPDPreTrainedModel,
)
from modeling_cotpd.training.collator import CoTPDCollator
from modeling_cotpd.training.evaluation import decode, gold_labels
from modeling_cotpd.training.pretrained import load_tokenizer

Span = tuple[str, int, int]


@dataclass
class Case:
    """One post.

    Args:
        id (`str`): Its id.
        tokens (`list[str]`): Its tokens.
        gold (`list[Span]`): Entities as type, first and last token; MRE: head and tail.
        views (`dict[str, list[Span]]`): Predicted entities of every view; MRE: empty.
        relations (`dict[str, str]`): MRE: gold and predicted relation of every view.
        knowledge (`dict[str, str]`): The columns that the knowledge view reads and that are not empty.
        attention (`list[list[float]]`): N rows, one per query of the prompt: its share of attention per token. Empty
            for prompts that look nowhere.
    """

    id: str
    tokens: list[str]
    gold: list[Span]
    views: dict[str, list[Span]] = field(default_factory=dict)
    relations: dict[str, str] = field(default_factory=dict)
    knowledge: dict[str, str] = field(default_factory=dict)
    attention: list[list[float]] = field(default_factory=list)


def study(
    model_dir: str | Path,
    dataset_dir: str | Path,
    *,
    split: str = "test",
    ids: Sequence[str] = (),
    count: int = 12,
    compare: str | Path | None = None,
    knowledge_columns: Sequence[str] = KNOWLEDGE_COLUMNS,
    max_length: int = 512,
) -> list[Case]:
    """Run both views of a model on some posts.

    Args:
        model_dir (`str` or `Path`): A trained CoTPD model.
        dataset_dir (`str` or `Path`): The prepared folder with its knowledge.
        split (`str`, defaults to `"test"`): The split.
        ids (`Sequence[str]`): The posts. By default the first `count` posts on which the views disagree, or the model
            and the one it is compared with.
        count (`int`, defaults to 12): How many posts at most.
        compare (`str` or `Path`, *optional*): Another model, whose text-only predictions are shown as `baseline`.
        knowledge_columns (`Sequence[str]`): What the knowledge view reads.
        max_length (`int`, defaults to 512): The most pieces of the knowledge view.

    Raises:
        DataError: There is no such split or id.
        SettingError: A model's labels are not those of the data.
    """
    splits, info = read_prepared(dataset_dir)
    if split not in splits:
        raise DataError(f"There is no split {split!r}.", place=str(dataset_dir))
    rows = splits[split]
    if ids:
        places = {row_id: index for index, row_id in enumerate(rows["id"])}
        unknown = [row_id for row_id in ids if row_id not in places]
        if unknown:
            raise DataError(f"There is no post {unknown[0]!r}.", place=f"{dataset_dir}, {split}")
        rows = rows.select([places[row_id] for row_id in ids])
    columns = tuple(knowledge_columns)
    found = _run(model_dir, rows, info.task, info.label_names, columns, max_length)
    baseline = _run(compare, rows, info.task, info.label_names, (), max_length)[0] if compare else None
    predictions, attention = found
    if baseline is not None:
        predictions["baseline"] = baseline["prompt"]
    cases = []
    golds = gold_labels(rows)
    for index, row in enumerate(rows):
        views = {view: values[index] for view, values in predictions.items()}
        if not ids and all(value == views["prompt"] for value in views.values()):
            continue
        cases.append(_case(row, golds[index], views, columns, attention[index]))
        if len(cases) == count and not ids:
            break
    return cases


def _case(row: dict, gold: list[str] | str | None, views: dict, columns: tuple[str, ...], attention: list) -> Case:
    knowledge = {name: row[name] for name in columns if row[name]}
    if "ner_tags" in row:
        spans = {view: sorted(entities_of(tags), key=lambda span: span[1:]) for view, tags in views.items()}
        entities = sorted(entities_of(gold), key=lambda span: span[1:]) if gold else []
        return Case(row["id"], row["tokens"], entities, spans, {}, knowledge, attention)
    pair = [(side, row[side]["start"], row[side]["end"] - 1) for side in ("head", "tail")]
    relations = {"gold": str(gold), **views}
    return Case(row["id"], row["tokens"], pair, {}, relations, knowledge, attention)


def _run(
    model_dir: str | Path, rows: Dataset, task: str, label_names: list[str], columns: tuple[str, ...], max_length: int
) -> tuple[dict[str, list], list[list[list[float]]]]:
    """Decoded predictions per view, and per row the attention of every query over the tokens."""
    kind = CoTPDForTokenClassification if task == "mner" else CoTPDForRelationExtraction
    model: CoTPDPreTrainedModel = kind.from_pretrained(str(model_dir)).eval()
    if [model.config.id2label[index] for index in range(model.config.num_labels)] != label_names:
        raise SettingError("The model's labels are not those of the data.", place=str(model_dir))
    tokenizer = load_tokenizer(str(model_dir))
    limit = min(max_length, model.get_base_model().max_positions or max_length)
    features = build_features(rows, tokenizer, ViewSettings(columns, limit, model.get_base_model().max_text_length))
    collator = CoTPDCollator(tokenizer.pad_token_id)
    predictions: dict[str, list] = {}
    attention: list[list[list[float]]] = []
    shown = model.config.prompt_type == "conditional"
    for index in range(len(features)):
        batch = {name: value for name, value in collator([features[index]]).items() if name != "distillation_mask"}
        with torch.no_grad():
            outputs = model(**batch, output_prompt_attentions=shown)
        for view, logits in (("prompt", outputs.logits), ("knowledge", outputs.knowledge_logits)):
            if logits is not None:
                decoded = decode(logits.argmax(-1).numpy(), features.select([index]), label_names)
                predictions.setdefault(view, []).append(decoded[0])
        pieces = outputs.prompt_attentions[0].tolist() if shown else []
        attention.append(per_token(pieces, rows[index]["tokens"], features[index]["input_ids"], tokenizer))
    return predictions, attention


def per_token(
    attention: list[list[float]], tokens: list[str], input_ids: list[int], tokenizer: PreTrainedTokenizerBase
) -> list[list[float]]:
    """Add the attention of the pieces up to tokens; what special tokens and markers get belongs to none.

    Args:
        attention (`list[list[float]]` of shape `(N, n)`): Attention over pieces.
        tokens (`list[str]`): The post's tokens.
        input_ids (`list[int]`): The text's pieces, special tokens and markers included.
        tokenizer (`PreTrainedTokenizerBase`): The model's tokenizer.
    """
    offsets = tokenizer(
        " ".join(tokens), add_special_tokens=False, return_offsets_mapping=True, split_special_tokens=True
    )["offset_mapping"]
    special = set(tokenizer.all_special_ids) | set(tokenizer.get_added_vocab().values())
    places = [
        place for place, piece in enumerate(input_ids) if piece not in special or piece == tokenizer.unk_token_id
    ]
    if len(places) != len(offsets):
        return []
    spans = word_spans(tokens)
    owner = [next((w for w, (_, end) in enumerate(spans) if offset[0] < end), len(spans) - 1) for offset in offsets]
    shares = []
    for row in attention:
        share = [0.0] * len(tokens)
        for place, word in zip(places, owner, strict=True):
            share[word] += row[place]
        shares.append(share)
    return shares
