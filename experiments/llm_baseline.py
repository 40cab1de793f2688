"""The language model itself as entity recognizer or relation extractor: the ChatGPT and GPT-4 rows of Table 1.

`python -m experiments.llm_baseline --help` in a clone of the repository.
"""

import json
import os
import random
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from datasets import Dataset

from modeling_cotpd.cli import options
from modeling_cotpd.cli.main import exit_code
from modeling_cotpd.data.bio import entities
from modeling_cotpd.data.prepared import read_prepared
from modeling_cotpd.errors import SettingError
from modeling_cotpd.files import atomic_write, json_line, write_json
from modeling_cotpd.knowledge.answer import FAILED, FINAL, MISSING, WAITING, Answer
from modeling_cotpd.knowledge.endpoint import EndpointSettings
from modeling_cotpd.knowledge.glosses import find_json
from modeling_cotpd.knowledge.prompt import Prompt, read_prompt
from modeling_cotpd.knowledge.request import Conversation, Job, Request
from modeling_cotpd.knowledge.runner import Asking, Progress, run_jobs
from modeling_cotpd.knowledge.store import ResponseStore
from modeling_cotpd.metrics.entity_score.entity_score import entity_scores
from modeling_cotpd.metrics.relation_score.relation_score import relation_scores

PROMPTS = Path(__file__).parent / "prompts"
NO_RELATION = "None"


@dataclass
class Prediction:
    """What was read from an answer.

    Args:
        label (`list[str] | str`): Tags (MNER) or the relation (MRE); all `O` or `None` where nothing could be read.
        parsed (`bool`): Whether the answer could be read.
        problems (`Counter`): Parts that were left out: `mention not in the text`, `unknown type`, `unknown relation`.
    """

    label: list[str] | str
    parsed: bool = False
    problems: Counter = field(default_factory=Counter)


def read_entities(answer: Answer, tokens: Sequence[str], kinds: Sequence[str]) -> Prediction:
    """Read entities from an answer: JSON anywhere in it, in a code fence or cut at its end."""
    tags = ["O"] * len(tokens)
    found = find_json(answer.text) if answer.status in FINAL else None
    mentions = found.get("entities") if isinstance(found, dict) else found
    if not isinstance(mentions, list):
        return Prediction(tags)
    prediction = Prediction(tags, parsed=True)
    folded = {kind.casefold(): kind for kind in kinds}
    taken = [False] * len(tokens)
    for mention in mentions:
        text, kind = (mention.get("text"), mention.get("type")) if isinstance(mention, dict) else (None, None)
        if not isinstance(text, str) or not isinstance(kind, str) or kind.strip().casefold() not in folded:
            prediction.problems["unknown type"] += 1
            continue
        span = find_mention(tokens, text, taken)
        if span is None:
            prediction.problems["mention not in the text"] += 1
            continue
        name = folded[kind.strip().casefold()]
        for index in range(*span):
            taken[index] = True
            tags[index] = f"{'B' if index == span[0] else 'I'}-{name}"
    return prediction


def find_mention(tokens: Sequence[str], mention: str, taken: Sequence[bool]) -> tuple[int, int] | None:
    """Return the first span of whole tokens that reads like `mention` and is not taken.

    White space does not count, since models write "#Herons" for the tokens "#" and "Herons"; upper and lower case
    only when nothing fits exactly.

    Example:
        >>> find_mention(["so", "proud", "of", "#", "Herons"], "#herons", [False] * 5)
        (3, 5)
    """
    for fold in (str, str.casefold):
        wanted = "".join(fold(mention).split())
        words = ["".join(fold(token).split()) for token in tokens]
        for start in range(len(words)):
            read = ""
            for end in range(start, len(words)):
                read += words[end]
                if taken[end] or not wanted.startswith(read):
                    break
                if read == wanted and wanted:
                    return start, end + 1
    return None


def read_relation(answer: Answer, kinds: Sequence[str]) -> Prediction:
    """Read a relation from an answer: from JSON, else the only relation that the answer names."""
    if answer.status not in FINAL:
        return Prediction(NO_RELATION)
    found, folded = find_json(answer.text), {kind.casefold(): kind for kind in kinds}
    relation = found.get("relation") if isinstance(found, dict) else None
    if isinstance(relation, str) and relation.strip().casefold() in folded:
        return Prediction(folded[relation.strip().casefold()], parsed=True)
    if isinstance(relation, str):
        return Prediction(NO_RELATION, problems=Counter({"unknown relation": 1}))
    text = answer.text.casefold()
    named = {kind for name, kind in folded.items() if re.search(rf"(?<![\w/]){re.escape(name)}(?![\w/])", text)}
    return Prediction(named.pop(), parsed=True) if len(named) == 1 else Prediction(NO_RELATION)


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
        more: dict[str, Any] = {"response_format": self.schema()} if self.structured else {}
        return self.settings.request(self.prompt.name, self.prompt.tag, messages, **more)


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
    predictions: list[Any] = []  # a relation, or the tags of a post
    references: list[Any] = []
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
        score = relation_scores if question.task == "mre" else entity_scores
        result.scores = score(predictions, references)
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


def question_prompt(task: str, folder: Path | None = None) -> Prompt:
    """Return the prompt of a task, from `folder` where it has a file of that name."""
    name = "entities.txt" if task == "mner" else "relation.txt"
    return read_prompt(folder / name if folder is not None and (folder / name).is_file() else PROMPTS / name)


@options.with_options
def llm_baseline(
    source: Annotated[Path, typer.Argument(help="Prepared folder with labels.")],
    out: Annotated[Path, typer.Option(help="Folder for predictions.jsonl and results.json.")],
    model: options.Model,
    teacher: options.AskingOptions,
    split: Annotated[str, typer.Option(help="The split to predict.")] = "test",
    shots: Annotated[int, typer.Option(help="Worked examples from the training split.", min=0)] = 0,
    seed: Annotated[int, typer.Option(help="Of the choice of examples.")] = 0,
    structured: Annotated[
        bool, typer.Option("--structured", help="Demand JSON by response_format, where the server knows it.")
    ] = False,
    limit: options.Limit = None,
) -> None:
    """Ask a language model for the entities or the relation of every row and score its answers.

    Answers are read tolerantly; those that cannot be read count as predicting nothing, and their number stands beside
    the scores. Exit codes as of `cotpd elicit`.

    Example:

        python -m experiments.llm_baseline data/twitter2017 --out runs/gpt-5-nano --model gpt-5-nano --shots 4
    """
    settings, asking = teacher.settings(model), teacher.asking(model)
    splits, info = read_prepared(source)
    for name in (split, *(["train"] if shots else [])):
        if name not in splits:
            raise SettingError(
                f"There is no split {name!r}.", place=str(source), fix=f"There are {', '.join(splits)}."
            )
    if shots and split == "train":
        raise SettingError(
            "The examples come from the split that is predicted.", place="--shots", fix="Use --shots 0."
        )
    examples = choose_examples(list(splits["train"]), info.task, info.label_names, shots, seed) if shots else ()
    prompt = question_prompt(info.task, teacher.prompts)
    question = Question(info.task, settings, prompt, info.label_names, examples, structured)
    rows = splits[split].select(range(min(limit, len(splits[split])))) if limit else splits[split]
    teacher.print_estimate(baseline_jobs(rows, question), settings, asking)
    if teacher.dry_run:
        return
    result = run_baseline(rows, question, teacher.store, out, asking)
    options.end_when_stopped(asking)
    options.echo_all([options.usage_line(asking)])
    left_out = ", ".join(f"{count} {reason}" for reason, count in result.left_out.items()) or "nothing"
    options.echo(f"could not be read: {result.unparsable} of {len(rows)} answers; left out of others: {left_out}")
    if result.scores:
        options.echo(", ".join(f"{name} {result.scores[name]:.4f}" for name in ("f1", "precision", "recall")))
    options.echo(str(out / "results.json"))
    if result.unasked:
        raise typer.Exit(options.UNASKED)


app = typer.Typer(pretty_exceptions_enable=False)
app.command()(llm_baseline)

if __name__ == "__main__":
    sys.exit(exit_code(lambda: app(prog_name="llm_baseline", standalone_mode=False), "llm_baseline"))
