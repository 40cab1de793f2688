"""LLM baselines: the model itself is asked for entities or the relation (the ChatGPT and GPT-4 rows of Table 1)."""

import json
import os
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from datasets import Dataset

from modeling_cotpd.data.bio import entities
from modeling_cotpd.errors import SettingError
from modeling_cotpd.files import atomic_write, json_line, write_json
from modeling_cotpd.knowledge.answer import FAILED, MISSING, WAITING, Answer
from modeling_cotpd.knowledge.conversation import Conversation, Job
from modeling_cotpd.knowledge.endpoint import EndpointSettings
from modeling_cotpd.knowledge.prediction import NO_RELATION, Prediction, read_entities, read_relation
from modeling_cotpd.knowledge.prompt import Prompt
from modeling_cotpd.knowledge.request import Request
from modeling_cotpd.knowledge.runner import Asking, Progress, run_jobs
from modeling_cotpd.knowledge.store import ResponseStore


@dataclass(frozen=True)
class Question:
    """What is asked about every row.

    Args:
        task (`str`): `"mner"` or `"mre"`.
        settings (`EndpointSettings`): Which model is asked.
        prompt (`Prompt`): `entities` or `relation`.
        label_names (`list[str]`): Tag or relation names.
        examples (`tuple[dict, ...]`): Labelled rows shown before the question, each as a question and its answer.
        structured (`bool`): Ask for JSON by `response_format`, which not every server knows; the prompt asks for it
            in any case.
    """

    task: str
    settings: EndpointSettings
    prompt: Prompt
    label_names: list[str]
    examples: tuple[dict, ...] = ()
    structured: bool = False

    @property
    def kinds(self) -> list[str]:
        """Entity types or relations, in the order of the labels."""
        if self.task == "mre":
            return self.label_names
        return list(dict.fromkeys(name[2:] for name in self.label_names if name != "O"))

    def ask(self, row: dict) -> str:
        """The user message about a row."""
        tokens = row["tokens"]
        fields = {"text": " ".join(tokens), "caption": row["caption"] or ""}
        if self.task == "mner":
            return self.prompt.fill(types=", ".join(self.kinds), **fields)
        head, tail = (" ".join(tokens[row[side]["start"] : row[side]["end"]]) for side in ("head", "tail"))
        return self.prompt.fill(relations=", ".join(self.kinds), head=head, tail=tail, **fields)

    def gold(self, row: dict) -> str:
        """The answer that would have been right, as the examples show it."""
        if self.task == "mre":
            return json.dumps({"relation": self.label_names[row["relation"]]})
        found = entities([self.label_names[tag] for tag in row["ner_tags"]], lenient=True)
        mentions = [{"text": " ".join(row["tokens"][start:end]), "type": kind} for kind, start, end in found]
        return json.dumps({"entities": mentions}, ensure_ascii=False)

    def read(self, answer: Answer, row: dict) -> Prediction:
        """Return what an answer says about a row."""
        if self.task == "mre":
            return read_relation(answer, self.kinds)
        return read_entities(answer, row["tokens"], self.kinds)

    def schema(self) -> dict:
        """JSON schema of the answer, as `response_format` takes it."""
        one_of = {"type": "string", "enum": self.kinds}
        if self.task == "mre":
            properties: dict = {"relation": one_of}
        else:
            mention = {"text": {"type": "string"}, "type": one_of}
            properties = {"entities": {"type": "array", "items": _object(mention)}}
        schema = {"name": "answer", "strict": True, "schema": _object(properties)}
        return {"type": "json_schema", "json_schema": schema}

    def request(self, row: dict) -> Request:
        """The request about a row; examples come before it as turns of the conversation."""
        messages = []
        for example in self.examples:
            messages.append({"role": "user", "content": self.ask(example)})
            messages.append({"role": "assistant", "content": self.gold(example)})
        messages.append({"role": "user", "content": self.ask(row)})
        more = {"response_format": self.schema()} if self.structured else {}
        return Request(
            endpoint=self.settings.endpoint,
            purpose=self.prompt.name,
            prompt=self.prompt.tag,
            body=self.settings.body(messages, **more),
        )


def _object(properties: dict) -> dict:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def baseline_jobs(rows: Sequence[dict] | Dataset, question: Question) -> Iterator[Job]:
    """Yield one job per row; its result is the row and the `Answer`."""
    for row in rows:
        yield Job(row["id"], partial(_ask, row, question))


def _ask(row: dict, question: Question) -> Conversation:
    return row, (yield question.request(row))


def choose_examples(
    rows: Sequence[dict], task: str, label_names: Sequence[str], shots: int, seed: int
) -> tuple[dict, ...]:
    """Labelled rows to show, drawn at random; rows that show something come first.

    Half of them (rounded up) have an entity or a relation other than `None` where the split has so many, because an
    example without any teaches little more than the empty form.

    Args:
        rows (`Sequence[dict]`): The training split.
        task (`str`): `"mner"` or `"mre"`.
        label_names (`Sequence[str]`): Tag or relation names.
        shots (`int`): How many.
        seed (`int`): Of the draw.

    Raises:
        SettingError: There are fewer labelled rows than shots.
    """
    column = "ner_tags" if task == "mner" else "relation"
    labelled = [row for row in rows if row[column] is not None]
    if len(labelled) < shots:
        raise SettingError(f"{len(labelled)} labelled rows are too few for {shots} shots.", place="shots")
    draw = random.Random(seed)
    draw.shuffle(labelled)
    if task == "mner":
        telling = [row for row in labelled if any(label_names[tag] != "O" for tag in row[column])]
    else:
        telling = [row for row in labelled if label_names[row[column]] != NO_RELATION]
    chosen = telling[: (shots + 1) // 2]
    chosen += [row for row in labelled if row not in chosen][: shots - len(chosen)]
    draw.shuffle(chosen)
    return tuple(chosen)


@dataclass
class BaselineResult:
    """The result of a run.

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
    asking: Asking | None = None,
) -> BaselineResult:
    """Ask about every row and score the answers.

    Writes `predictions.jsonl` (id, prediction, gold, the answer's status, whether it could be read, the answer) and
    `results.json` into `out`.

    Args:
        rows (`Dataset`): A split.
        question (`Question`): What is asked.
        store (`str` or `os.PathLike`): The response store's file.
        out (`str` or `os.PathLike`): The folder for the two files.
        asking (`Asking`, *optional*): How to ask.
    """
    asking, out = asking or Asking(), Path(out)
    result = BaselineResult(asking.progress)
    predictions, references = [], []
    with ResponseStore(store) as opened, atomic_write(out / "predictions.jsonl") as lines:
        jobs = baseline_jobs(rows, question)
        for id, (row, answer) in run_jobs(jobs, question.settings, opened, asking, total=len(rows), unit="rows"):
            prediction = question.read(answer, row)
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
    write_json(out / "results.json", summary)
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
