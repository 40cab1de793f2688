"""Tiny models with tokenizers that fit them, in memory or on disk."""

from pathlib import Path

from modeling_cotpd import CoTPDForRelationExtraction, CoTPDForTokenClassification
from modeling_cotpd.data.words import continuing_tokens, split_at_words
from modeling_cotpd.markers_cotpd import add_entity_markers
from modeling_cotpd.training.pretrained import unspell_special_tokens
from support.tiny_models import LABELS, TOKENIZER_KINDS, tiny_model, wordpiece_tokenizer

FAMILY = {"wordpiece": "bert", "bpe": "roberta", "unigram": "xlm-roberta"}
LONG = 2000  # positions, so that random posts fit
RELATIONS = {0: "None", 1: "/per/loc", 2: "/per/org"}


def made(kind: type, tokenizer_kind: str, positions: int = LONG, **changes):
    """A tiny model and tokenizer that fit each other."""
    tokenizer = unspell_special_tokens(TOKENIZER_KINDS[tokenizer_kind]())
    tokenizer.split_special_tokens = True
    if kind is CoTPDForRelationExtraction:
        add_entity_markers(tokenizer)
    else:
        changes = {"id2label": dict(enumerate(LABELS)), **changes}
    split_at_words(tokenizer)
    encoder = {"vocab_size": len(tokenizer), "max_position_embeddings": positions + 8}
    model = tiny_model(kind, FAMILY[tokenizer_kind], encoder, **changes)
    tokenizer.model_max_length = positions
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    if kind is CoTPDForTokenClassification:
        # any token serves as a hyphen, so that its reading is in every exported graph
        model.read_words(continuing_tokens(tokenizer), word_hyphens=[11])
    return model, tokenizer


def saved(folder: Path, kind: type = CoTPDForTokenClassification, **changes) -> Path:
    """A tiny model on disk."""
    tokenizer = split_at_words(wordpiece_tokenizer())
    if kind is CoTPDForRelationExtraction:
        add_entity_markers(tokenizer)
        changes = {"num_labels": 3, "id2label": RELATIONS, **changes}
    else:
        changes = {"id2label": dict(enumerate(LABELS)), **changes}
    tiny_model(kind, "bert", {"vocab_size": len(tokenizer)}, **changes).save_pretrained(folder)
    tokenizer.model_max_length = 61
    tokenizer.save_pretrained(folder)
    return folder
