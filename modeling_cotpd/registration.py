"""Makes the CoTPD classes known to transformers' auto classes and pipelines; importing this module does it."""

from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoModelForTokenClassification
from transformers.pipelines import PIPELINE_REGISTRY

from modeling_cotpd.configuration_cotpd import CoTPDConfig
from modeling_cotpd.modeling_cotpd import (
    CoTPDForRelationExtraction,
    CoTPDForTokenClassification,
    CoTPDModel,
    CoTPDPreTrainedModel,
)
from modeling_cotpd.pipeline_cotpd import RelationExtractionPipeline

AutoConfig.register("cotpd", CoTPDConfig)
AutoModel.register(CoTPDConfig, CoTPDModel)
AutoModelForTokenClassification.register(CoTPDConfig, CoTPDForTokenClassification)
# transformers has no auto class for relation extraction
AutoModelForSequenceClassification.register(CoTPDConfig, CoTPDForRelationExtraction)
# Makes save_pretrained write the code beside the weights, for machines without this package
CoTPDConfig.register_for_auto_class()
CoTPDModel.register_for_auto_class("AutoModel")
CoTPDForTokenClassification.register_for_auto_class("AutoModelForTokenClassification")
CoTPDForRelationExtraction.register_for_auto_class("AutoModelForSequenceClassification")
PIPELINE_REGISTRY.register_pipeline(
    "relation-extraction", RelationExtractionPipeline, pt_model=AutoModelForSequenceClassification, type="text"
)

__all__ = [
    "CoTPDConfig",
    "CoTPDForRelationExtraction",
    "CoTPDForTokenClassification",
    "CoTPDModel",
    "CoTPDPreTrainedModel",
    "RelationExtractionPipeline",
]
