"""What training, evaluation and the model card need to know about each task, in one place."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from modeling_cotpd.metrics.entity_score.entity_score import entity_scores
from modeling_cotpd.metrics.relation_score.relation_score import relation_scores
from modeling_cotpd.modeling_cotpd import (
    CoTPDForRelationExtraction,
    CoTPDForTokenClassification,
    CoTPDPreTrainedModel,
)


@dataclass(frozen=True)
class Task:
    """One task.

    Args:
        name (`str`): `"mner"` or `"mre"`.
        title (`str`): Its name in the field.
        model_class (`type`): The model with the task's head.
        score (`Callable`): Scores of predictions against gold labels, two lists of the same length.
        metrics (`Mapping`): Names of the headline scores, with the metric's type and name in the Hub's `model-index`.
        pipeline (`str`): The pipeline that runs a trained model.
        hub_type (`str`): The task's type in the Hub's `model-index`.
        adds_tokens (`bool`): Whether new tokens (entity markers) join the vocabulary.
    """

    name: str
    title: str
    model_class: type[CoTPDPreTrainedModel]
    score: Callable[[list, list], dict]
    metrics: Mapping[str, tuple[str, str]]
    pipeline: str
    hub_type: str
    adds_tokens: bool

    def metric_names(self) -> list[str]:
        """Names of the scores that are numbers."""
        return [name for name, value in self.score([], []).items() if isinstance(value, int | float)]


TASKS: Mapping[str, Task] = {
    "mner": Task(
        name="mner",
        title="Named entity recognition",
        model_class=CoTPDForTokenClassification,
        score=entity_scores,
        metrics={
            "f1": ("f1", "Entity F1"),
            "strict_f1": ("f1", "Entity F1, strict"),
            "precision": ("precision", "Entity precision"),
            "recall": ("recall", "Entity recall"),
        },
        pipeline="token-classification",
        hub_type="token-classification",
        adds_tokens=False,
    ),
    "mre": Task(
        name="mre",
        title="Relation extraction",
        model_class=CoTPDForRelationExtraction,
        score=relation_scores,
        metrics={
            "f1": ("f1", "Micro F1 without None"),
            "precision": ("precision", "Micro precision without None"),
            "recall": ("recall", "Micro recall without None"),
        },
        pipeline="relation-extraction",
        hub_type="text-classification",
        adds_tokens=True,
    ),
}
