"""A text-only relation-extraction pipeline: a text and two character spans in, relations with scores out."""

from typing import Any

import torch
from transformers import Pipeline
from transformers.pipelines.base import GenericTensor

from .markers_cotpd import insert_markers, marker_ids, readable, special_affixes, tokens_of_span

RELATION_PIPELINE = {
    "relation-extraction": {
        "impl": "pipeline_cotpd.RelationExtractionPipeline",
        "pt": ["AutoModelForSequenceClassification"],
        "type": "text",
    }
}
"""How a saved model's `config.custom_pipelines` names this pipeline."""


class RelationExtractionPipeline(Pipeline):
    """
    Finds the relation between two entities of a text, from the text alone.

    Call it with one input or a list of inputs. An input is a `dict` with `text` (`str`), `head` and `tail`. Each of
    the two is a span, `(start, end)` or `{"start": start, "end": end}`: the first character and the one after the
    last; or a mention, a `str` that occurs in the text exactly once. Keyword arguments:

        top_k (`int`, *optional*, defaults to 1): How many relations to return, best first. With 1, each result is a
            `dict` with `label` and `score`; else a list of such.
        batch_size (`int`, *optional*, defaults to 1): As for every pipeline.

    Of a text longer than the model reads, the subword tokens around the two entities are read. A lone surrogate is
    read as U+FFFD.

    Raises:
        ValueError: A span is empty or lies outside the text, a mention occurs not once, or the entities are further
            apart than the model reads. The message says what a span is.

    Example:

    ```python
    >>> from transformers import pipeline
    >>> extractor = pipeline("relation-extraction", "path/to/model", trust_remote_code=True)  # doctest: +SKIP
    >>> extractor({"text": "Maya Stone moved to Harlow", "head": (0, 10), "tail": (20, 26)})  # doctest: +SKIP
    {'label': '/per/loc/place_of_residence', 'score': 0.97}
    ```
    """

    _load_processor = False
    _load_image_processor = False
    _load_feature_extractor = False
    _load_tokenizer = True

    def _sanitize_parameters(self, top_k: int | None = None) -> tuple[dict, dict, dict]:
        if top_k is not None and top_k < 1:
            raise ValueError(f"top_k must be at least 1, got {top_k}.")
        return {}, {}, {} if top_k is None else {"top_k": top_k}

    def preprocess(self, inputs: dict[str, Any]) -> dict[str, GenericTensor]:
        if not isinstance(inputs, dict) or not {"text", "head", "tail"} <= inputs.keys():
            raise ValueError(
                f"An input needs text, head and tail, got {inputs!r:.80}. "
                "Example: {'text': 'Maya moved to Harlow', 'head': (0, 4), 'tail': (14, 20)}"
            )
        text = inputs["text"]
        if not isinstance(text, str):
            raise ValueError(f"The text is a {type(text).__name__}, not a string.")
        spans = {side: span_of(inputs[side], text, side) for side in ("head", "tail")}
        encoded = self.tokenizer(
            readable(text),
            add_special_tokens=False,
            return_offsets_mapping=True,
            split_special_tokens=True,
            verbose=False,
        )
        offsets = encoded["offset_mapping"]
        head, tail = (tokens_of_span(offsets, *spans[side]) for side in ("head", "tail"))
        prefix, suffix = special_affixes(self.tokenizer)
        markers = marker_ids(self.tokenizer)
        room = self.tokenizer.model_max_length - len(prefix) - len(suffix) - len(markers)
        begin, end = window(len(offsets), min(head[0], tail[0]), max(head[1], tail[1]), room)
        marked, positions = insert_markers(
            encoded["input_ids"][begin:end],
            (head[0] - begin, head[1] - begin),
            (tail[0] - begin, tail[1] - begin),
            markers,
        )
        input_ids = torch.tensor([[*prefix, *marked, *suffix]])
        return {
            "input_ids": input_ids,
            "attention_mask": torch.ones_like(input_ids),
            "marker_positions": torch.tensor([[position + len(prefix) for position in positions]]),
        }

    def _forward(self, model_inputs: dict[str, GenericTensor]) -> dict[str, GenericTensor]:
        # a tokenizer that pads on the left moves the text to the right
        shift = model_inputs["attention_mask"].argmax(-1, keepdim=True)
        model_inputs = {**model_inputs, "marker_positions": model_inputs["marker_positions"] + shift}
        return {"logits": self.model(**model_inputs).logits}

    def postprocess(self, model_outputs: dict[str, GenericTensor], top_k: int = 1) -> dict | list[dict]:
        probabilities = model_outputs["logits"][0].float().softmax(-1)
        best = probabilities.topk(min(top_k, len(probabilities)))
        relations = [
            {"label": self.model.config.id2label[index], "score": value}
            for value, index in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]
        return relations[0] if top_k == 1 else relations


def span_of(value: Any, text: str, side: str) -> tuple[int, int]:
    """The characters (start, end) that a value in one of the accepted forms means; others are a `ValueError`.

    Example:
        >>> span_of("Harlow", "Maya moved to Harlow", "tail")
        (14, 20)
    """
    form = "A span is (start, end): the first character and the one after the last, as in (0, 4)."
    if isinstance(value, str):
        found = text.count(value) if value.strip() else 0
        if found != 1:
            raise ValueError(f"The {side} {value!r:.80} occurs {found} times in the text, so give its span. {form}")
        return text.index(value), text.index(value) + len(value)
    if isinstance(value, dict):
        value = (value.get("start"), value.get("end"))
    try:
        start, end = (int(each) for each in value)
        whole = all(int(each) == each for each in value)
    except (TypeError, ValueError, OverflowError):
        whole = False
    if not whole:
        raise ValueError(f"The {side} is {value!r:.80}, not a span. {form}")
    if not 0 <= start < end <= len(text) or not text[start:end].strip():
        raise ValueError(
            f"The {side} span ({start}, {end}) must hold characters of the text of length {len(text)}. {form}"
        )
    return start, end


class TooFarApart(ValueError):
    """Two entities do not fit into one window of the model."""


def window(length: int, first: int, last: int, room: int) -> tuple[int, int]:
    """The subword tokens [begin, end) to read of a text of `length`, so that [first, last) is in their middle."""
    if length <= room:
        return 0, length
    if last - first > room:
        raise TooFarApart(f"The two entities lie {last - first} subword tokens apart; the model reads at most {room}.")
    begin = min(max(0, first - (room - (last - first)) // 2), length - room)
    return begin, begin + room


__all__ = ["RELATION_PIPELINE", "RelationExtractionPipeline", "TooFarApart", "span_of"]
