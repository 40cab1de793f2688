"""Tiny trained models as folders with their code, and Python that cannot import this package."""

from pathlib import Path

from transformers import PreTrainedTokenizerFast
from transformers.dynamic_module_utils import custom_object_save

from modeling_cotpd import (
    CoTPDForRelationExtraction,
    CoTPDForTokenClassification,
    CoTPDPreTrainedModel,
    RelationExtractionPipeline,
)
from modeling_cotpd.markers_cotpd import add_entity_markers
from modeling_cotpd.pipeline_cotpd import RELATION_PIPELINE
from support.tiny_models import LABELS, TOKENIZER_KINDS, tiny_model

NAMES = {"id2label": dict(enumerate(LABELS)), "label2id": {name: i for i, name in enumerate(LABELS)}}
TEXT = "Mira Holt sings at Quarry Lane"
PAIR = {"text": TEXT, "head": (0, 9), "tail": (19, 30)}

WITHOUT_PACKAGE = """
import importlib.abc, json, sys

class NoPackage(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "modeling_cotpd":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NoPackage())
"""
"""The beginning of a program for a machine without this package."""


def save_tiny_model(folder: Path, task: str, **settings) -> tuple[CoTPDPreTrainedModel, PreTrainedTokenizerFast]:
    """Model, code and tokenizer, as a run saves them."""
    tokenizer = TOKENIZER_KINDS["wordpiece"]()
    tokenizer.model_max_length = 61
    kind = CoTPDForTokenClassification if task == "mner" else CoTPDForRelationExtraction
    model = tiny_model(kind, **NAMES, **settings)
    if task == "mre":
        add_entity_markers(tokenizer)
        model.resize_token_embeddings(len(tokenizer))
        model.config.custom_pipelines = RELATION_PIPELINE
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if task == "mre":
        custom_object_save(RelationExtractionPipeline(model=model, tokenizer=tokenizer), folder)
    return model, tokenizer
