"""A small sweep over fictional posts, and how to steer the entry point that trains nothing."""

import json
from pathlib import Path

import yaml

from modeling_cotpd.data.prepared import DatasetInfo, write_prepared
from modeling_cotpd.data.schema import make_split

LABELS = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]


def fictional_rows(count: int, prefix: str) -> list[dict]:
    """Posts of three tokens, of which one is a name, with a caption and knowledge."""
    people = ("Mira", "Dario", "Holt", "Fenwick")
    return [
        {
            "id": f"{prefix}{number}",
            "tokens": ["so", people[number % 4], "said"],
            "ner_tags": ["O", "B-PER" if number % 4 < 3 else "B-LOC", "O"],
            "caption": "a dog near a bridge",
            "cot_noun": f"{people[number % 4]} is a singer <b>",
        }
        for number in range(count)
    ]


def write_fictional(folder: Path, name: str = "otters") -> Path:
    """A prepared folder with 12, 8 and 8 posts."""
    splits = {
        split: make_split(fictional_rows(count, split), "mner", LABELS, split)
        for split, count in (("train", 12), ("validation", 8), ("test", 8))
    }
    write_prepared(splits, DatasetInfo(name, "mner", LABELS, captioner="blip2", knowledge="files"), folder)
    return folder


SWEEP = {
    "name": "small",
    "title": "A small sweep",
    "data": {"otters": {"given": "write it"}, "badgers": {"given": "write that, too"}},
    "columns": {"Otters": {"task": "mner", "data": "otters"}},
    "encoders": {"tiny": {"model_name_or_path": "tiny"}},
    "settings": {"do_train": True, "do_eval": True, "do_predict": True, "num_train_epochs": 1},
    "seeds": [0, 1],
    "baseline": "text only",
    "retention": {"caption": "[x; I]", "knowledge": "knowledge at test time"},
    "rows": [
        {
            "name": "text only",
            "view": "prompt",
            "settings": {"knowledge_columns": ["none"], "prompt_type": "none", "eval_views": "prompt"},
        },
        {
            "name": "[x; I]",
            "view": "knowledge",
            "settings": {
                "knowledge_columns": ["caption"],
                "prompt_type": "none",
                "alpha": 0,
                "eval_views": "knowledge",
            },
        },
        {
            "name": "knowledge at test time",
            "view": "knowledge",
            "settings": {
                "knowledge_columns": ["caption", "cot_noun"],
                "prompt_type": "none",
                "alpha": 0,
                "eval_views": "knowledge",
            },
        },
        {"name": "CPD", "view": "prompt", "settings": {"prompt_type": "conditional"}},
    ],
}


def write_sweep(folder: Path, **changes) -> Path:
    """The small sweep as a file, with other top-level keys where given."""
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump({**SWEEP, **changes}, sort_keys=False), "utf-8")
    return path


def behave(folder: Path, **behaviour) -> None:
    """Tell the stand-in what to do."""
    (folder / "behaviour.json").write_text(json.dumps(behaviour))


def calls(folder: Path) -> list[str]:
    """How the stand-in was called."""
    path = folder / "calls.txt"
    return path.read_text().splitlines() if path.is_file() else []
