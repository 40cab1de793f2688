"""Caption and knowledge of a new sample, none of which may name an entity that is no longer there."""

from collections.abc import Generator, Sequence

from modeling_cotpd.augmentation.candidate import IMAGE, Candidate
from modeling_cotpd.augmentation.plan import ELICIT, EMPTY, AugmentPlan, opening
from modeling_cotpd.augmentation.renaming import Renaming, rename, with_full_name
from modeling_cotpd.augmentation.tokenization import detokenize
from modeling_cotpd.data.glosses import parse_noun_list
from modeling_cotpd.data.schema import COT_COLUMNS
from modeling_cotpd.knowledge.answer import SKIPPED, Answer
from modeling_cotpd.knowledge.explanation import explain
from modeling_cotpd.knowledge.post import Post
from modeling_cotpd.knowledge.request import Request


def with_knowledge(
    plan: AugmentPlan, row: dict, renamings: Sequence[Renaming], candidate: Candidate
) -> Generator[Request, Answer, dict]:
    """Return a new record with its picture, caption and knowledge.

    A post with other entities loses its picture, which shows the old ones; so does a post with an imagined caption.

    Args:
        plan (`AugmentPlan`): Whether to imagine, and where knowledge is from.
        row (`dict`): The record with its new tokens, and with the parent's caption and knowledge.
        renamings (`Sequence[Renaming]`): The entities that were replaced; none for another style.
        candidate (`Candidate`): Gets notes such as `cot_noun emptied`.

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
        row["caption"] = " ".join(plan.usable_text(answer).split())
        if not row["caption"]:
            candidate.notes.append(f"caption {answer.status}")
        elif any(renaming.names(row["caption"]) for renaming in renamings):
            row["caption"] = ""
            candidate.notes.append("caption emptied")
    else:
        _rename(row, "caption", renamings, candidate)
    if plan.knowledge == EMPTY:
        row |= {**dict.fromkeys(COT_COLUMNS, ""), "glosses": []}
    elif plan.knowledge == ELICIT:
        row |= yield from _elicited(plan, row, renamings, candidate)
        row["glosses"] = parse_noun_list(row["cot_noun"])
    else:
        for column in COT_COLUMNS:
            _rename(row, column, renamings, candidate)
        glosses = (
            {name: rename(gloss[name] or "", renamings) for name in ("mention", "gloss")}
            for gloss in row.get("glosses") or ()
        )
        row["glosses"] = [gloss for gloss in glosses if gloss["mention"] and gloss["gloss"]]
    return row


def _rename(row: dict, column: str, renamings: Sequence[Renaming], candidate: Candidate) -> None:
    before = row.get(column) or ""
    row[column] = rename(before, renamings)
    if before and not row[column]:
        candidate.notes.append(f"{column} emptied")


def _elicited(
    plan: AugmentPlan, row: dict, renamings: Sequence[Renaming], candidate: Candidate
) -> Generator[Request, Answer, dict]:
    post = Post(row["id"], " ".join(row["tokens"]), row["caption"] or "")
    explanation = yield from explain(post, plan.explanation)
    columns = {}
    for grain, answer in explanation.answers.items():
        column = f"cot_{grain}"
        columns[column] = plan.usable_text(answer) if answer.status != SKIPPED else ""
        if any(renaming.names(columns[column]) for renaming in renamings):
            columns[column] = ""
            candidate.notes.append(f"{column} emptied")
        elif not columns[column]:
            candidate.notes.append(f"{column} {answer.status}")
    return columns
