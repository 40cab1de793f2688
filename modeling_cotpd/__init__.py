"""Chain-of-Thought Prompt Distillation for multimodal named entity recognition and relation extraction.

Importing the package registers its models and its pipeline with transformers, so that
`pipeline("token-classification", FOLDER)` works. Only the `cotpd` command puts that off until a model is asked for:
its help need not wait for torch.
"""

import sys
from typing import TYPE_CHECKING, Any

from modeling_cotpd.version import __version__

if TYPE_CHECKING:
    from modeling_cotpd.registration import (
        CoTPDConfig,
        CoTPDForRelationExtraction,
        CoTPDForTokenClassification,
        CoTPDModel,
        CoTPDPreTrainedModel,
        RelationExtractionPipeline,
    )

__all__ = [
    "CoTPDConfig",
    "CoTPDForRelationExtraction",
    "CoTPDForTokenClassification",
    "CoTPDModel",
    "CoTPDPreTrainedModel",
    "RelationExtractionPipeline",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from modeling_cotpd import registration

    return getattr(registration, name)


if "cotpd_command" not in sys.modules:
    # Registers when it is imported. `import modeling_cotpd.registration` would put the package itself in the place of
    # its module modeling_cotpd.modeling_cotpd
    from modeling_cotpd import registration  # noqa: F401
