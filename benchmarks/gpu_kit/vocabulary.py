"""An encoder with the part of its vocabulary that occurs in some data, in half precision."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import AutoModel, PreTrainedTokenizerBase

from modeling_cotpd.data.prepared import read_prepared
from modeling_cotpd.data.schema import KNOWLEDGE_COLUMNS
from modeling_cotpd.data.words import split_at_words
from modeling_cotpd.encoder_cotpd import resolve_encoder
from modeling_cotpd.errors import SettingError
from modeling_cotpd.files import require_empty
from modeling_cotpd.markers_cotpd import ENTITY_MARKERS
from modeling_cotpd.training.pretrained import load_tokenizer


def texts_of(folders: Sequence[str]) -> Iterable[str]:
    """Yield every text of prepared folders that a view can hold: posts, captions, explanations and glosses."""
    for folder in folders:
        splits, _ = read_prepared(folder)
        for split in splits.values():
            for row in split:
                yield " ".join(row["tokens"])
                yield from (row[name] or "" for name in KNOWLEDGE_COLUMNS)
                yield from (item["gloss"] for item in row["glosses"] or ())


def needed_tokens(tokenizer: PreTrainedTokenizerBase, texts: Iterable[str]) -> list[int]:
    """Return the ids that texts need, in ascending order: their tokens, special tokens, brackets and markers.

    Ids up to the padding token's stay, because some encoders count positions from it.
    """
    wanted = [*texts, "[ ] ( )", *ENTITY_MARKERS]
    needed = {token for ids in tokenizer(wanted, add_special_tokens=False)["input_ids"] for token in ids}
    return sorted(needed | set(tokenizer.added_tokens_decoder) | set(range(tokenizer.pad_token_id + 1)))


def prune_tokenizer(tokenizer: PreTrainedTokenizerBase, kept: Sequence[int]) -> None:
    """Renumber a WordPiece tokenizer to the ids that are kept, in place.

    WordPiece takes the longest piece that it knows, so a text whose tokens are all kept is cut as before.

    Raises:
        SettingError: The tokenizer is of another kind.
    """
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    if state["model"]["type"] != "WordPiece":
        raise SettingError(
            f"The tokenizer is {state['model']['type']}, not WordPiece.", fix="Pack an encoder with WordPiece tokens."
        )
    new = {old: number for number, old in enumerate(kept)}
    vocabulary = state["model"]["vocab"].items()
    state["model"]["vocab"] = {token: new[old] for token, old in vocabulary if old in new}
    for token in state["added_tokens"]:
        token["id"] = new[token["id"]]
    _renumber(state["post_processor"], new)
    tokenizer._tokenizer = Tokenizer.from_str(json.dumps(state))


def _renumber(step: object, new: dict[int, int]) -> None:
    """Give the special tokens of a post-processor their new ids: `["[SEP]", 102]` or `{"ids": [102]}`."""
    if isinstance(step, dict):
        if isinstance(step.get("ids"), list):
            step["ids"] = [new[old] for old in step["ids"]]
        for value in step.values():
            _renumber(value, new)
    elif isinstance(step, list):
        if len(step) == 2 and isinstance(step[0], str) and isinstance(step[1], int):
            step[1] = new[step[1]]
        for value in step:
            _renumber(value, new)


def prune_encoder(name_or_path: str, folders: Sequence[str], out: str | Path) -> dict[str, int]:
    """Write an encoder with the vocabulary of prepared folders alone, in half precision; return token counts.

    Its logits on these folders' posts are those of the whole encoder in half precision.

    Raises:
        SettingError: The tokenizer is not a WordPiece one, or the folder is not empty.
    """
    out = require_empty(out)
    source = resolve_encoder(name_or_path)
    texts = list(texts_of(folders))
    kept = needed_tokens(split_at_words(load_tokenizer(source)), texts)
    tokenizer = load_tokenizer(source)
    before = len(tokenizer)
    prune_tokenizer(tokenizer, kept)
    model = AutoModel.from_pretrained(source, use_safetensors=True, dtype=torch.float32)
    embeddings = model.get_input_embeddings()
    model.set_input_embeddings(
        torch.nn.Embedding.from_pretrained(embeddings.weight[kept], padding_idx=embeddings.padding_idx)
    )
    new = {old: number for number, old in enumerate(kept)}
    for name, value in model.config.to_dict().items():
        if name.endswith("_token_id") and value is not None:
            setattr(model.config, name, new[value])
    model.config.vocab_size = len(kept)
    model.half().save_pretrained(out)
    tokenizer.save_pretrained(out)
    check_tokens(source, out, texts, kept)
    return {"before": before, "after": len(kept)}


def check_tokens(source: str, out: str | Path, texts: Sequence[str], kept: Sequence[int]) -> None:
    """Compare both tokenizers on texts, special tokens included.

    Raises:
        SettingError: They differ.
    """
    whole, pruned = (split_at_words(load_tokenizer(str(folder)))(list(texts))["input_ids"] for folder in (source, out))
    for text, before, after in zip(texts, whole, pruned, strict=True):
        if before != [kept[token] for token in after]:
            raise SettingError("The pruned tokenizer reads a text otherwise than the whole one.", place=repr(text))
