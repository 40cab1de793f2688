"""LLM baselines: the teacher itself is asked for entities or the relation (the ChatGPT and GPT-4 rows of Table 1)."""

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from modeling_cotpd.data.bio import entities
from modeling_cotpd.errors import SettingError
from modeling_cotpd.knowledge.job import Job, Talk
from modeling_cotpd.knowledge.prompt import Prompt
from modeling_cotpd.knowledge.request import Request
from modeling_cotpd.knowledge.teacher import TeacherSettings

NO_RELATION = "None"


@dataclass(frozen=True)
class Question:
    """What is asked about every row.

    Args:
        task (`str`): `"mner"` or `"mre"`.
        settings (`TeacherSettings`): Whom to ask.
        prompt (`Prompt`): `entities` or `relation`.
        label_names (`list[str]`): Tag or relation names.
        examples (`tuple[dict, ...]`): Labelled rows shown before the question, each as a question and its answer.
        structured (`bool`): Ask for JSON by `response_format`, which not every server knows; the prompt asks for it
            in any case.
    """

    task: str
    settings: TeacherSettings
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


def baseline_jobs(rows: Sequence[dict], question: Question) -> Iterator[Job]:
    """One job per row; its result is the `Answer`."""
    for row in rows:
        yield Job(row["id"], partial(_ask, row, question))


def _ask(row: dict, question: Question) -> Talk:
    return (yield question.request(row))


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
