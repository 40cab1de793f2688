"""The fictional sample corpus in the form of the published files."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def write_published(folder: Path, rename: dict[str, str] | None = None) -> None:
    """The sample corpus in the form of the published Twitter files, with captions and knowledge."""
    folder.mkdir(parents=True)
    for split, name in (("train", "train"), ("validation", "valid"), ("test", "test")):
        sample = ROOT / f"modeling_cotpd/data/sample/mner.{split}.jsonl"
        rows = [json.loads(line) for line in sample.read_text("utf-8").splitlines()][:24]
        rows = [row for row in rows if row["ner_tags"]]
        posts, captions, knowledge = [], [], []
        for number, row in enumerate(rows):
            key = f"{number}{split[0]}"
            tags = [re.sub("MISC$", (rename or {}).get("MISC", "MISC"), tag) for tag in row["ner_tags"]]
            lines = [f"{token}\t{tag}" for token, tag in zip(row["tokens"], tags, strict=True)]
            posts.append("\n".join([f"IMGID:{key}", *lines]) + "\n")
            captions.append({"id": key, "blip2": row["caption"], "minicpm": row["caption"]})
            grains = ("noun", "sentence", "multimodality")
            knowledge.append({"id": key, **{grain: row[f"cot_{grain}"] for grain in grains}})
        (folder / f"{name}.txt").write_text("\n".join(posts), "utf-8")
        for kind, values in (("captions", captions), ("knowledge", knowledge)):
            text = "".join(json.dumps(value) + "\n" for value in values)
            (folder / f"{kind}.{name}.jsonl").write_text(text, "utf-8")
