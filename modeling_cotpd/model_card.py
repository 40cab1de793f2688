"""The model card that a run writes beside its model."""

from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData

TEMPLATE = """---
{{ card_data }}
---

# {{ name }}

{{ what }} from text alone, trained by Chain-of-Thought Prompt Distillation
([arXiv 2306.14122](https://arxiv.org/abs/2306.14122)) with
[modeling_cotpd](https://pypi.org/project/modeling_cotpd/).

| | |
|---|---|
| encoder | {{ encoder }} |
| prompt | {{ prompt }} |
| data | {{ dataset }} (gold sha256 of the training split: `{{ data_hash }}`) |
| knowledge in training | {{ knowledge }} |
| seed | {{ seed }} |

## Scores on the {{ split }} split

{{ scores }}

The prompt view reads the post alone. The knowledge view reads caption and explanations at test time, which an
application would have to produce for every post; its score stands beside the other for comparison.

## Use

```python
from transformers import pipeline

{{ usage }}
```

## Limits

Trained on English social-media posts of a few years; other languages, times and registers will score lower. Labels
follow the data set's own conventions. Explanations that a language model wrote for training may be wrong, and the
model may have learned such errors. Not made for decisions about persons.
"""

USAGE = {
    "mner": """tagger = pipeline(
    "token-classification", "{name}", aggregation_strategy="first", trust_remote_code=True
)
tagger("Saw @mayastone at Harlow Park with the whole crew")""",
    "mre": """extractor = pipeline("relation-extraction", "{name}", trust_remote_code=True)
extractor({{"text": "Maya Stone moved to Harlow", "head": (0, 10), "tail": (20, 26)}})""",
}


def write_model_card(folder: Path, results: dict, encoder: str, prompt: str) -> None:
    """Write `README.md` with the scores of every view as `model-index`.

    Args:
        folder (`Path`): The model's folder.
        results (`dict`): What `results.json` holds.
        encoder (`str`): Name of the encoder that training started from.
        prompt (`str`): Prompt type and length.
    """
    task, name = results["task"], folder.name
    split = "test" if "test" in results["splits"] else "validation"
    scores = results["splits"].get(split, {})
    evaluations = [
        EvalResult(
            task_type="token-classification" if task == "mner" else "text-classification",
            task_name="Named entity recognition" if task == "mner" else "Relation extraction",
            dataset_type=results["dataset"]["name"],
            dataset_name=results["dataset"]["name"],
            metric_type="f1",
            metric_value=round(values["f1"], 4),
            # Not in the name of the data set: results on one data set are merged under the first one's name
            metric_name=f"{'Entity F1' if task == 'mner' else 'Micro F1 without None'}, {view} view",
        )
        for view, values in scores.items()
    ]
    data = ModelCardData(
        language="en",
        license="apache-2.0",
        library_name="transformers",
        pipeline_tag="token-classification" if task == "mner" else None,
        tags=["cotpd", "knowledge-distillation", "social-media", task],
        model_name=name,
        eval_results=evaluations or None,
    )
    rows = [f"| {view} | {v['precision']:.4f} | {v['recall']:.4f} | {v['f1']:.4f} |" for view, v in scores.items()]
    dataset = results["dataset"]
    knowledge = [
        ", ".join(results["knowledge_columns"]) or "none",
        f"captions: {dataset['captioner'] or 'none'}",
        f"explanations: {dataset['knowledge'] or 'none'}",
    ]
    card = ModelCard.from_template(
        data,
        template_str=TEMPLATE,
        name=name,
        what="Named entity recognition" if task == "mner" else "Relation extraction",
        encoder=encoder,
        prompt=prompt,
        dataset=dataset["name"],
        data_hash=dataset["splits"].get("train", {}).get("gold_hash", "not trained here"),
        knowledge="; ".join(knowledge),
        seed=results["seed"],
        split=split,
        scores="\n".join(["| view | precision | recall | F1 |", "|---|---|---|---|", *rows]),
        usage=USAGE[task].format(name=name),
    )
    card.save(folder / "README.md")
