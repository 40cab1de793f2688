"""The language model itself as entity recognizer or relation extractor: the ChatGPT and GPT-4 rows of Table 1.

`python -m experiments.llm_baseline --help` in a clone of the repository.
"""

import json
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
from modeling_cotpd.data.schema import gold_labels
from modeling_cotpd.errors import SettingError
from modeling_cotpd.files import atomic_write, json_line, write_json
from modeling_cotpd.knowledge.answer import FAILED, FINAL, MISSING, WAITING, Answer
from modeling_cotpd.knowledge.endpoint import EndpointSettings
from modeling_cotpd.knowledge.glosses import find_json
from modeling_cotpd.knowledge.prompt import Prompt, read_prompt
from modeling_cotpd.knowledge.request import Conversation, Job, Request
from modeling_cotpd.knowledge.runner import Asking, run_jobs
from modeling_cotpd.knowledge.store import ResponseStore
from modeling_cotpd.metrics.entity_score.entity_score import entity_scores
from modeling_cotpd.metrics.relation_score.relation_score import relation_scores

PROMPTS = Path(__file__).parent / "prompts"
NO_RELATION = "None"
UNASKED = (FAILED, WAITING, MISSING)


@dataclass
class Prediction:
    """What an answer says: tags or a relation, whether it could be read, and the parts left out, by reason."""

    label: list[str] | str
    parsed: bool = False
    problems: Counter = field(default_factory=Counter)


def read_entities(answer: Answer, tokens: Sequence[str], kinds: Sequence[str]) -> Prediction:
    """Read entities from an answer: JSON anywhere in it, in a code fence or cut at its end."""
    tags, taken = ["O"] * len(tokens), [False] * len(tokens)
    found = find_json(answer.text) if answer.status in FINAL else None
    mentions = found.get("entities") if isinstance(found, dict) else found
    if not isinstance(mentions, list):
        return Prediction(tags)
    prediction = Prediction(tags, parsed=True)
    folded = {kind.casefold(): kind for kind in kinds}
    for mention in mentions:
        text, kind = (mention.get("text"), mention.get("type")) if isinstance(mention, dict) else (None, None)
        if not isinstance(text, str) or not isinstance(kind, str) or kind.strip().casefold() not in folded:
            prediction.problems["unknown type"] += 1
        elif (span := find_mention(tokens, text, taken)) is None:
            prediction.problems["mention not in the text"] += 1
        else:
            for index in range(*span):
                taken[index] = True
                tags[index] = f"{'B' if index == span[0] else 'I'}-{folded[kind.strip().casefold()]}"
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
        wanted, *words = ("".join(fold(text).split()) for text in (mention, *tokens))
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
    if isinstance(relation, str):
        known = folded.get(relation.strip().casefold())
        problems = Counter() if known else Counter({"unknown relation": 1})
        return Prediction(known or NO_RELATION, known is not None, problems)
    text = answer.text.casefold()
    named = {kind for name, kind in folded.items() if re.search(rf"(?<![\w/]){re.escape(name)}(?![\w/])", text)}
    return Prediction(named.pop(), parsed=True) if len(named) == 1 else Prediction(NO_RELATION)


@dataclass(frozen=True)
class Question:
    """What is asked about every row."""

    task: str  # "mner" or "mre"
    settings: EndpointSettings  # which model is asked
    prompt: Prompt
    label_names: list[str]  # tags or relations
    examples: tuple[dict, ...] = ()  # labelled rows shown before the question, each as a question and its answer

    @property
    def kinds(self) -> list[str]:
        """Entity types or relations, in the order of the labels."""
        if self.task == "mre":
            return self.label_names
        return list(dict.fromkeys(name[2:] for name in self.label_names if name != "O"))

    def ask(self, row: dict) -> str:
        """The user message about a row."""
        tokens, kinds = row["tokens"], ", ".join(self.kinds)
        fields = {"text": " ".join(tokens), "caption": row["caption"] or ""}
        if self.task == "mner":
            return self.prompt.fill(types=kinds, **fields)
        pair = {side: " ".join(tokens[row[side]["start"] : row[side]["end"]]) for side in ("head", "tail")}
        return self.prompt.fill(relations=kinds, **pair, **fields)

    def right_answer(self, row: dict) -> str:
        """The answer that would have been right, as the examples show it."""
        if self.task == "mre":
            return json.dumps({"relation": row["gold"]})
        found = entities(row["gold"], lenient=True)
        mentions = [{"text": " ".join(row["tokens"][start:end]), "type": kind} for kind, start, end in found]
        return json.dumps({"entities": mentions}, ensure_ascii=False)

    def read(self, answer: Answer, row: dict) -> Prediction:
        """Return what an answer says about a row."""
        if self.task == "mre":
            return read_relation(answer, self.kinds)
        return read_entities(answer, row["tokens"], self.kinds)

    def request(self, row: dict) -> Request:
        """The request about a row; examples come before it as turns of the conversation."""
        messages = []
        for example in self.examples:
            messages += [{"role": "user", "content": self.ask(example)}]
            messages += [{"role": "assistant", "content": self.right_answer(example)}]
        messages += [{"role": "user", "content": self.ask(row)}]
        return self.settings.request(self.prompt.name, self.prompt.tag, messages)

    def jobs(self, rows: Sequence[dict]) -> Iterator[Job]:
        """Yield one job per row; its result is the row and the `Answer`."""
        for row in rows:
            yield Job(row["id"], partial(self._conversation, row))

    def _conversation(self, row: dict) -> Conversation:
        return row, (yield self.request(row))


def with_gold(split: Dataset) -> list[dict]:
    """Rows with the names of their labels as `gold`; `None` for an unlabelled row."""
    return [{**row, "gold": gold} for row, gold in zip(split, gold_labels(split), strict=True)]


def choose_examples(rows: Sequence[dict], shots: int, seed: int) -> tuple[dict, ...]:
    """Draw labelled rows to show.

    Half of them (rounded up) have an entity or a relation other than `None` where the split has so many, because an
    example without any teaches little more than the empty form.
    """
    labelled = [row for row in rows if row["gold"] is not None]
    if len(labelled) < shots:
        raise SettingError(f"{len(labelled)} labelled rows are too few for {shots} shots.", place="shots")
    draw = random.Random(seed)
    draw.shuffle(labelled)
    chosen = [row for row in labelled if row["gold"] != NO_RELATION and {*row["gold"]} != {"O"}][: (shots + 1) // 2]
    chosen += [row for row in labelled if row not in chosen][: shots - len(chosen)]
    draw.shuffle(chosen)
    return tuple(chosen)


def run_baseline(rows: Sequence[dict], question: Question, store: Path, out: Path, asking: Asking) -> dict[str, Any]:
    """Ask about every row and score the answers; an answer that cannot be read counts as predicting nothing.

    Writes `predictions.jsonl` (id, prediction, gold, the answer's status, whether it could be read, the answer) and
    `results.json`, which it also returns, into `out`.
    """
    statuses, left_out, unparsable = Counter[str](), Counter[str](), 0
    predictions: list[Any] = []  # a relation, or the tags of a post
    references: list[Any] = []
    with ResponseStore(store) as opened, atomic_write(out / "predictions.jsonl") as lines:
        jobs = question.jobs(rows)
        for id, (row, answer) in run_jobs(jobs, question.settings, opened, asking, total=len(rows), unit="rows"):
            prediction, gold = question.read(answer, row), row["gold"]
            statuses[answer.status] += 1
            unparsable += not prediction.parsed and answer.status not in UNASKED
            left_out.update(prediction.problems)
            if gold is not None:
                predictions.append(prediction.label)
                references.append(gold)
            line = {"id": id, "prediction": prediction.label, "gold": gold, "status": answer.status}
            lines.write(json_line({**line, "parsed": prediction.parsed, "answer": answer.text or answer.reason}))
    score = relation_scores if question.task == "mre" else entity_scores
    results = {
        "model": question.settings.model,
        "endpoint": question.settings.endpoint,
        "sampling": question.settings.sampling,
        "prompt": question.prompt.tag,
        "shots": len(question.examples),
        "rows": len(rows),
        "statuses": dict(statuses),
        "unparsable": unparsable,
        "left_out": dict(left_out),
        "scores": score(predictions, references) if references else {},
    }
    write_json(out / "results.json", results)
    return results


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
            fix = f"There are {', '.join(splits)}."
            raise SettingError(f"There is no split {name!r}.", place=str(source), fix=fix)
    if shots and split == "train":
        message = "The examples come from the split that is predicted."
        raise SettingError(message, place="--shots", fix="Use --shots 0.")
    examples = choose_examples(with_gold(splits["train"]), shots, seed) if shots else ()
    prompt = question_prompt(info.task, teacher.prompts)
    question = Question(info.task, settings, prompt, info.label_names, examples)
    rows = with_gold(splits[split])[: limit or None]
    teacher.print_estimate(question.jobs(rows), settings, asking)
    if teacher.dry_run:
        return
    results = run_baseline(rows, question, teacher.store, out, asking)
    options.echo_all([options.usage_line(asking)])
    left_out = ", ".join(f"{count} {reason}" for reason, count in results["left_out"].items()) or "nothing"
    unparsable = results["unparsable"]
    options.echo(f"could not be read: {unparsable} of {len(rows)} answers; left out of others: {left_out}")
    if scores := results["scores"]:
        options.echo(", ".join(f"{name} {scores[name]:.4f}" for name in ("f1", "precision", "recall")))
    options.echo(str(out / "results.json"))
    if any(results["statuses"].get(status) for status in UNASKED):
        raise typer.Exit(options.UNASKED)


app = typer.Typer(pretty_exceptions_enable=False)
app.command()(llm_baseline)

if __name__ == "__main__":
    sys.exit(exit_code(lambda: app(prog_name="llm_baseline", standalone_mode=False), "llm_baseline"))
