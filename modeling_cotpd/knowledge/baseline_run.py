"""A run of an LLM baseline: ask, read, write the predictions, score them."""

import json
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from datasets import Dataset

from modeling_cotpd.knowledge.answer import FAILED, MISSING, WAITING
from modeling_cotpd.knowledge.baseline import Question, baseline_jobs
from modeling_cotpd.knowledge.estimate import Price
from modeling_cotpd.knowledge.files import json_line, writing
from modeling_cotpd.knowledge.job import results
from modeling_cotpd.knowledge.prediction import read_prediction
from modeling_cotpd.knowledge.progress import ProgressBar
from modeling_cotpd.knowledge.runner import Progress, run_jobs
from modeling_cotpd.knowledge.store import ResponseStore


@dataclass
class BaselineResult:
    """What a run left behind.

    Args:
        progress (`Progress`): What was asked in this run.
        statuses (`Counter`): Answers by status, earlier runs included.
        unparsable (`int`): Answers that could not be read; they count as predicting nothing.
        left_out (`Counter`): Parts of answers that were left out, by reason.
        scores (`dict`): From the project's metrics, over the labelled rows.
    """

    progress: Progress
    statuses: Counter = field(default_factory=Counter)
    unparsable: int = 0
    left_out: Counter = field(default_factory=Counter)
    scores: dict = field(default_factory=dict)

    @property
    def unasked(self) -> int:
        """Rows whose request failed, waits in a batch or was never sent."""
        return self.statuses[FAILED] + self.statuses[WAITING] + self.statuses[MISSING]


def run_baseline(
    rows: Dataset,
    question: Question,
    store: str | os.PathLike,
    out: str | os.PathLike,
    *,
    concurrency: int = 16,
    again: Iterable[str] = (),
    price: Price | None = None,
) -> BaselineResult:
    """Ask about every row and score the answers.

    Writes `predictions.jsonl` (id, prediction, gold, the answer's status, whether it could be read, the answer) and
    `results.json` into `out`.

    Args:
        rows (`Dataset`): A split.
        question (`Question`): What is asked.
        store: The response store's file.
        out: The folder for the two files.
        concurrency (`int`): Requests under way at once.
        again (`Iterable[str]`): Statuses of stored answers to ask again; failed ones always are.
        price (`Price`, *optional*): For the progress bar.
    """
    out = Path(out)
    with ResponseStore(store) as opened:
        with ProgressBar(len(rows), "rows", price) as bar:
            progress = run_jobs(
                baseline_jobs(rows, question),
                question.settings,
                opened,
                concurrency=concurrency,
                again=again,
                on_change=bar.update,
            )
        result = BaselineResult(progress)
        predictions, references = [], []
        with writing(out / "predictions.jsonl") as lines:
            answers = results(baseline_jobs(rows, question), lambda request: opened.get(request.key))
            for row, (id, answer) in zip(rows, answers, strict=True):
                prediction = read_prediction(answer, row, question)
                result.statuses[answer.status] += 1
                result.unparsable += not prediction.parsed and answer.status not in (FAILED, WAITING, MISSING)
                result.left_out.update(prediction.problems)
                gold = _gold(row, question)
                if gold is not None:
                    predictions.append(prediction.label)
                    references.append(gold)
                line = {"id": id, "prediction": prediction.label, "gold": gold, "status": answer.status}
                lines.write(json_line({**line, "parsed": prediction.parsed, "answer": answer.text or answer.reason}))
    if references:
        result.scores = _score(question.task, predictions, references)
    summary = {
        "model": question.settings.model,
        "endpoint": question.settings.endpoint,
        "sampling": question.settings.sampling,
        "prompt": question.prompt.tag,
        "shots": len(question.examples),
        "structured": question.structured,
        "rows": len(rows),
        "statuses": dict(result.statuses),
        "unparsable": result.unparsable,
        "left_out": dict(result.left_out),
        "scores": result.scores,
    }
    with writing(out / "results.json") as file:
        file.write(json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
    return result


def _gold(row: dict, question: Question) -> list[str] | str | None:
    if question.task == "mre":
        return None if row["relation"] is None else question.label_names[row["relation"]]
    return None if row["ner_tags"] is None else [question.label_names[tag] for tag in row["ner_tags"]]


def _score(task: str, predictions: list, references: list) -> dict:
    # Imported here, since seqeval and evaluate take a second and only this function needs them.
    if task == "mre":
        from modeling_cotpd.metrics.relation_score.relation_score import relation_scores

        return relation_scores(predictions, references)
    from modeling_cotpd.metrics.entity_score.entity_score import entity_scores

    return entity_scores(predictions, references)
