"""The runs of the kit, as settings over a recipe, in the order of their importance."""

from dataclasses import dataclass, field
from typing import Any

COLUMNS = ["caption", "cot_noun", "cot_sentence", "cot_multimodality"]
TEXT: dict[str, Any] = {"knowledge_columns": ["none"], "prompt_type": "none"}
TEXT |= {"eval_views": "prompt", "metric_for_best_model": "eval_prompt_f1"}
KNOWLEDGE: dict[str, Any] = {"prompt_type": "none", "alpha": 0}
KNOWLEDGE |= {"eval_views": "knowledge", "metric_for_best_model": "eval_knowledge_f1"}
INLINE = {"knowledge_columns": ["cot_noun"], "knowledge_placement": "inline"}
BOTH: dict[str, Any] = {"eval_views": "both", "metric_for_best_model": "eval_prompt_f1"}
STUDENT: dict[str, Any] = {"knowledge_columns": ["cot_noun"], "prompt_type": "none", "prompt_view_masking": 0.1}
STUDENT |= {"eval_views": "prompt", "metric_for_best_model": "eval_prompt_f1"}


@dataclass(frozen=True)
class Row:
    """Settings of a run for every seed.

    Args:
        settings (`dict`): Over the recipe's.
        teachers (`str`, *optional*): The row whose models of all seeds teach this one.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    teachers: str | None = None


ROWS = {
    "text": Row(TEXT),
    "inline": Row(KNOWLEDGE | INLINE),
    "student": Row(STUDENT, teachers="inline"),
    "control": Row(STUDENT | {"distill_from_view": "prompt"}, teachers="text"),
    "cpd_inline": Row(BOTH | INLINE | {"prompt_type": "conditional"}),
    "mv_inline": Row(BOTH | INLINE | {"prompt_type": "none"}),
    "caption": Row(KNOWLEDGE | {"knowledge_columns": ["caption"]}),
    "appended": Row(KNOWLEDGE | {"knowledge_columns": COLUMNS}),
    "cpd_appended": Row(BOTH | {"knowledge_columns": COLUMNS, "prompt_type": "conditional"}),
    "mv_appended": Row(BOTH | {"knowledge_columns": COLUMNS, "prompt_type": "none"}),
}
"""`caption` is [x; I]. CPD and MV are read in both views. A student has every post's label and its teachers' KL; the
student of `text` teachers is its control, which reads no knowledge."""
