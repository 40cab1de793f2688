"""Chain-of-Thought Prompt Distillation for multimodal named entity recognition and relation extraction.

Importing the package makes its models and its pipeline known to transformers, so that
`pipeline("token-classification", FOLDER)` works. The import itself loads neither torch nor transformers: registration
waits until transformers loads its auto classes, and the names below are loaded when they are first used.
"""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

import wrapt

from modeling_cotpd.version import __version__

if TYPE_CHECKING:
    from modeling_cotpd.configuration_cotpd import CoTPDConfig
    from modeling_cotpd.data.views import ViewSettings, build_features
    from modeling_cotpd.modeling_cotpd import (
        CoTPDForRelationExtraction,
        CoTPDForTokenClassification,
        CoTPDModel,
        CoTPDPreTrainedModel,
    )
    from modeling_cotpd.pipeline_cotpd import RelationExtractionPipeline
    from modeling_cotpd.training.collator import CoTPDCollator
    from modeling_cotpd.training.pretrained import load_tokenizer
    from modeling_cotpd.training.trainer import CoTPDTrainer
    from modeling_cotpd.training.training_args import CoTPDTrainingArguments

_MODULES = {
    "CoTPDConfig": "configuration_cotpd",
    "CoTPDForRelationExtraction": "modeling_cotpd",
    "CoTPDForTokenClassification": "modeling_cotpd",
    "CoTPDModel": "modeling_cotpd",
    "CoTPDPreTrainedModel": "modeling_cotpd",
    "RelationExtractionPipeline": "pipeline_cotpd",
    "CoTPDCollator": "training.collator",
    "CoTPDTrainer": "training.trainer",
    "CoTPDTrainingArguments": "training.training_args",
    "ViewSettings": "data.views",
    "build_features": "data.views",
    "load_tokenizer": "training.pretrained",
}
__all__ = [
    "CoTPDCollator",
    "CoTPDConfig",
    "CoTPDForRelationExtraction",
    "CoTPDForTokenClassification",
    "CoTPDModel",
    "CoTPDPreTrainedModel",
    "CoTPDTrainer",
    "CoTPDTrainingArguments",
    "RelationExtractionPipeline",
    "ViewSettings",
    "__version__",
    "build_features",
    "load_tokenizer",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"modeling_cotpd.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _register_config(module: ModuleType) -> None:
    from transformers import AutoConfig

    AutoConfig.register("cotpd", module.CoTPDConfig)
    # Makes save_pretrained write the code beside the weights, for machines without this package
    module.CoTPDConfig.register_for_auto_class()


def _register_models(module: ModuleType) -> None:
    import transformers

    for name, model in {
        "AutoModel": module.CoTPDModel,
        "AutoModelForTokenClassification": module.CoTPDForTokenClassification,
        # transformers has no auto class for relation extraction
        "AutoModelForSequenceClassification": module.CoTPDForRelationExtraction,
    }.items():
        getattr(transformers, name).register(module.CoTPDConfig, model)
        model.register_for_auto_class(name)


def _register_pipeline(module: ModuleType) -> None:
    from transformers import AutoModelForSequenceClassification
    from transformers.pipelines import PIPELINE_REGISTRY

    PIPELINE_REGISTRY.register_pipeline(
        "relation-extraction",
        module.RelationExtractionPipeline,
        pt_model=AutoModelForSequenceClassification,
        type="text",
    )


def _load(name: str) -> Any:
    return lambda _: importlib.import_module(name)


# A module registers its classes when it is loaded, and is loaded when transformers has what it registers with
for _name, _needed, _register in (
    ("modeling_cotpd.configuration_cotpd", "transformers.models.auto.configuration_auto", _register_config),
    ("modeling_cotpd.modeling_cotpd", "transformers.models.auto.modeling_auto", _register_models),
    ("modeling_cotpd.pipeline_cotpd", "transformers.pipelines", _register_pipeline),
):
    wrapt.register_post_import_hook(_register, _name)
    wrapt.register_post_import_hook(_load(_name), _needed)
