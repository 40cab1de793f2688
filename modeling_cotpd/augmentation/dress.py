"""Caption and knowledge of a new sample, none of which may name an entity that is no longer there."""

from collections.abc import Generator, Sequence

from modeling_cotpd.augmentation.manner import detokenize
from modeling_cotpd.augmentation.naming import Renaming, rename, with_full_name
from modeling_cotpd.augmentation.outcome import IMAGE, Outcome
from modeling_cotpd.augmentation.plan import ELICIT, EMPTY, AugmentPlan, opening
from modeling_cotpd.data.schema import COT_COLUMNS
from modeling_cotpd.knowledge.answer import Answer
from modeling_cotpd.knowledge.explanation import explain
from modeling_cotpd.knowledge.post import Post
from modeling_cotpd.knowledge.request import Request


def dress(
    plan: AugmentPlan, row: dict, renamings: Sequence[Renaming], outcome: Outcome
) -> Generator[Request, Answer, dict]:
    """Give a new record its picture, caption and knowledge; the result is the record.

    A post with other entities loses its picture, which shows the old ones; so does a post with an imagined caption.

    Args:
        plan (`AugmentPlan`): Whether to imagine, and where knowledge is from.
        row (`dict`): The record with its new tokens, and with the parent's caption and knowledge.
        renamings (`Sequence[Renaming]`): The entities that were replaced; none for another style.
        outcome (`Outcome`): Gets notes such as `cot_noun emptied`.

    Raises:
        Unasked: A request has no answer.
    """
    row = dict(row)
    renamings = [with_full_name(renaming, (row[column] or "" for column in COT_COLUMNS)) for renaming in renamings]
    if plan.imagines or renamings:
        row["image"] = None
    if plan.imagines:
        messages = opening(plan, detokenize(row["tokens"]), plan.prompts["image"])
        answer = yield plan.request(IMAGE, messages, plan.prompts["post"], plan.prompts["image"])
        row["caption"] = " ".join(answer.text.split()) if plan.usable(answer) else ""
        if not row["caption"]:
            outcome.notes.append(f"caption {answer.status}")
        elif any(renaming.names(row["caption"]) for renaming in renamings):
            row["caption"] = ""
            outcome.notes.append("caption emptied")
    else:
        _rename(row, "caption", renamings, outcome)
    if plan.knowledge == EMPTY:
        row |= dict.fromkeys(COT_COLUMNS, "")
    elif plan.knowledge == ELICIT:
        row |= yield from _elicited(plan, row, renamings, outcome)
    else:
        for column in COT_COLUMNS:
            _rename(row, column, renamings, outcome)
    return row


def _rename(row: dict, column: str, renamings: Sequence[Renaming], outcome: Outcome) -> None:
    before = row.get(column) or ""
    row[column] = rename(before, renamings)
    if before and not row[column]:
        outcome.notes.append(f"{column} emptied")


def _elicited(
    plan: AugmentPlan, row: dict, renamings: Sequence[Renaming], outcome: Outcome
) -> Generator[Request, Answer, dict]:
    post = Post(row["id"], " ".join(row["tokens"]), row["caption"] or "")
    answers = yield from explain(post, plan.explanation)
    columns = {}
    for grain, answer in answers.items():
        column = f"cot_{grain}"
        skipped = answer.status == "skipped"
        columns[column] = answer.text.strip() if not skipped and plan.usable(answer) else ""
        if any(renaming.names(columns[column]) for renaming in renamings):
            columns[column] = ""
            outcome.notes.append(f"{column} emptied")
        elif not columns[column]:
            outcome.notes.append(f"{column} {answer.status}")
    return columns
