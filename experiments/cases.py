"""Case studies: the predictions of finished runs for single posts, beside the knowledge, as one HTML page.

python -m experiments.cases RUN/output --dataset_dir data/twitter2017 --out cases.html [--compare OTHER/output]
"""

import argparse
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from datasets import Dataset

from experiments.store import read_predictions
from modeling_cotpd.cli.main import exit_code
from modeling_cotpd.errors import DataError
from modeling_cotpd.files import atomic_write
from modeling_cotpd.inference.colours import colour_of, types_of
from modeling_cotpd.metrics.entity_score.entity_score import entities_of

COLUMNS = ("caption", "cot_noun", "cot_sentence", "cot_multimodality")
STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
section{border:1px solid #d5d5d5;border-radius:6px;padding:.6rem 1rem;margin:1rem 0} h2,dt{color:#555;font-size:.9rem}
mark{background:#e4e7eb;padding:0 .2rem;border-radius:4px} mark.wrong{outline:2px solid #c62828}
td:first-child{color:#555;white-space:nowrap}"""


def read_cases(
    output: Path, data: Path, split: str, ids: Sequence[str] = (), count: int = 12, compare: Path | None = None
) -> list[dict[str, Any]]:
    """Rows of a predictions file with the knowledge of their posts.

    They are those of `ids`, or the first `count` with different predictions. The text-only predictions of another run,
    `compare`, are shown as `baseline`.

    Raises:
        DataError: There is no such split or post.
    """
    paths = [folder / f"predictions.{split}.jsonl" for folder in (output, compare) if folder]
    for path in (*paths, data / f"{split}.parquet"):
        if not path.is_file():
            raise DataError("There is no such file.", place=str(path), fix="Name the output folder of a finished run.")
    rows, *others = map(read_predictions, paths)
    baseline = {row["id"]: row["prompt"] for other in others for row in other}
    posts = Dataset.from_parquet(str(data / f"{split}.parquet")).select_columns(["id", *COLUMNS])
    knowledge = {post["id"]: post for post in posts}
    cases = []
    for row in rows:
        views: dict[str, Any] = {view: row[view] for view in ("prompt", "knowledge") if view in row}
        views |= {"baseline": baseline[row["id"]]} if row["id"] in baseline else {}
        if row["id"] in ids or (not ids and any(value != views["prompt"] for value in views.values())):
            cases.append({**row, "views": {"gold": row["gold"], **views}, "knowledge": knowledge[row["id"]]})
    if missing := sorted(set(ids) - {case["id"] for case in cases}):
        raise DataError(f"There is no labelled post {missing[0]!r}.", place=str(paths[0]))
    return cases if ids else cases[:count]


def render_page(cases: Sequence[dict[str, Any]]) -> str:
    """The page as HTML, complete in itself; every text of the data is escaped."""
    values = [value for case in cases for value in case["views"].values()]
    kinds = types_of(tag for value in values if not isinstance(value, str) for tag in value)
    sections = []
    for case in cases:
        views = case["views"].items()
        lines = "".join(
            f"<tr><td>{escape(view)}</td><td>{_prediction(case, value, kinds)}</td></tr>" for view, value in views
        )
        texts = [(name, case["knowledge"][name]) for name in COLUMNS if case["knowledge"][name]]
        terms = "".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in texts)
        sections.append(f"<section><h2>{escape(case['id'])}</h2><table>{lines}</table><dl>{terms}</dl></section>")
    body = "\n".join(sections) or "<p>No post to show.</p>"
    head = f'<!doctype html><meta charset="utf-8"><title>Case studies</title><style>{STYLE}</style>'
    return f"{head}\n<p>A red frame: the prediction is not in the gold.</p>\n{body}\n"


def _prediction(case: dict[str, Any], value: Sequence[str] | str, kinds: Sequence[str]) -> str:
    """A relation with its post and pair, or the post with its entities marked."""
    tokens, gold = case["tokens"], case["gold"]
    if isinstance(value, str):
        pair = " → ".join(" ".join(tokens[case[side]["start"] : case[side]["end"]]) for side in ("head", "tail"))
        return f"{escape(' '.join(tokens))}<br>{escape(pair)}: {_mark(value == gold)}{escape(value)}</mark>"
    words, right = [escape(token) for token in tokens], entities_of(gold)
    for kind, first, last in entities_of(value):
        background = f"background:{colour_of(kind, kinds)}"
        words[first] = f"{_mark((kind, first, last) in right, background)}{words[first]}"
        words[last] += f" <small>{escape(kind)}</small></mark>"
    return " ".join(words)


def _mark(right: bool, style: str = "") -> str:
    wrong = "" if right else ' class="wrong"'
    return f'<mark{wrong} style="{style}">' if style else f"<mark{wrong}>"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(prog="python -m experiments.cases", description=__doc__)
    add = found.add_argument
    add("output", type=Path, help="the output folder of a run")
    add("--dataset_dir", type=Path, required=True, help="the prepared folder that it read")
    add("--out", type=Path, required=True, help="the HTML page")
    add("--split", default="test")
    add("--id", action="append", default=[], help="a post")
    add("--count", type=int, default=12, help="the most posts without --id")
    add("--compare", type=Path, help="another run, whose text-only predictions are shown")
    return found


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    options = parser().parse_args(arguments)
    cases = read_cases(options.output, options.dataset_dir, options.split, options.id, options.count, options.compare)
    with atomic_write(options.out) as file:
        file.write(render_page(cases))
    print(f"{len(cases)} posts written to {options.out}.")


if __name__ == "__main__":
    sys.exit(exit_code(main, "experiments"))
