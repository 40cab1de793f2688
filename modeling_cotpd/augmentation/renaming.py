"""Caption and knowledge of a new sample, rewritten to name the new entities and none that is no longer there."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from modeling_cotpd.augmentation.plan import ELICIT, EMPTY, IMAGE, AugmentPlan, Candidate
from modeling_cotpd.augmentation.sample import SIGNS, fold, name_key
from modeling_cotpd.augmentation.tokenization import detokenize
from modeling_cotpd.data.glosses import parse_noun_list
from modeling_cotpd.data.posts import Post
from modeling_cotpd.data.schema import COT_COLUMNS
from modeling_cotpd.knowledge.answer import SKIPPED
from modeling_cotpd.knowledge.explanation import explain
from modeling_cotpd.knowledge.prompt import opening
from modeling_cotpd.knowledge.request import Conversation

_WORD = re.compile(r"\w+")
_SENTENCE_END = re.compile(r"[.!?\n]")
_CASE_CHANGE = re.compile(r"(?<=[a-z])(?=[A-Z])|_")
_GAP = 4
"""The most characters between two words of one name: `J. Cole`, `X - Ray`."""
_ENTRY = re.compile(r"(?:^|[.;)\n])\s*([^\W\d_][^().;:\n]*?)\s*\(")
"""A name in a list with a remark behind it, as in `1. Mira Holt (singer) 2. Tarn (river)`."""
_LONGEST_ENTRY = 4
_ABBREVIATION = 3
"""The most letters of a word whose full stop is taken for that of an abbreviation."""
_PREFIX, _SUFFIX = 4, 5
"""From how many letters on a word that begins or ends with a name's word counts as that name: `HoltFans`."""
_COMMON = frozenset(
    ("a", "an", "and", "at", "by", "de", "del", "der", "di", "el", "for", "in", "la", "of", "on", "the", "to")
)


@dataclass(frozen=True)
class Renaming:
    """An entity that became another: tokens of the old mention and of the new one.

    Its surface forms are the whole name in any case and spacing (`Mira Holt`, `#miraholt`, `MIRA HOLT`) and runs of
    its words that stand for it (`Holt's new song`). Words that the new name or another mention of the post has too,
    folded in `shared`, stand for nothing. A capitalized word of the name in lower case is taken for a common noun
    (`the festival`), unless the text has no capitals at all, as many captions.
    """

    old: tuple[str, ...]
    new: tuple[str, ...]
    shared: frozenset[str] = frozenset()

    @cached_property
    def key(self) -> str:
        """`name_key` of the old name."""
        return name_key("".join(self.old))

    @cached_property
    def words(self) -> dict[str, str]:
        """The old name's words, folded, and as they were written."""
        written = [word for token in self.old for word in _WORD.findall(token)]
        return {fold(word): word for word in written if fold(word)}

    @cached_property
    def own_words(self) -> dict[str, str]:
        """Those of the words that stand for the old name alone."""
        taken = self.shared | {fold(word) for token in self.new for word in _WORD.findall(token)}
        return {
            word: written
            for word, written in self.words.items()
            if word not in taken and word not in _COMMON and (len(word) > 2 or written.isupper())
        }

    def apply(self, text: str) -> str:
        """The text with every surface form of the old name replaced by the new name.

        Example:
            >>> Renaming(("Mira", "Holt"), ("Dario", "Fenn")).apply("Mira Holt sings. Holt's fans like #MiraHolt.")
            "Dario Fenn sings. Dario Fenn's fans like #DarioFenn."
        """
        parts, done = [], 0
        for start, end in self._spans(text):
            signed = text[start - 1 : start] in SIGNS and start > 0
            new = "".join(filter(str.isalnum, "".join(self.new))) if signed else detokenize(self.new)
            parts += [text[done:start], new]
            done = end
        return "".join([*parts, text[done:]])

    def names(self, text: str) -> bool:
        """Whether a text still names the old entity, parts of longer words included.

        Example:
            >>> Renaming(("Mira", "Holt"), ("Dario", "Fenn")).names("The #HoltFans are here.")
            True
        """
        if next(self._spans(text), None) is not None:
            return True
        cased = _has_capitals(text)
        for match in _WORD.finditer(text):
            for part in {match.group(), *_CASE_CHANGE.split(match.group())}:
                folded = fold(part)
                if len(self.key) >= _SUFFIX and self.key.casefold() in folded:
                    return True
                for word, written in self.own_words.items():
                    common = cased and part.islower() and not written.islower()
                    if _is_part(folded, word) and not common:
                        return True
        return False

    def _spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Character spans of the surface forms, in order and without overlap."""
        words = [(match.group(), match.start(), match.end()) for match in _WORD.finditer(text)]
        cased, index = _has_capitals(text), 0
        while index < len(words):
            last = self._whole(text, words, index) or self._run(text, words, index, cased)
            if last:
                yield words[index][1], words[last - 1][2]
            index = last or index + 1

    def _whole(self, text: str, words: Sequence[tuple[str, int, int]], first: int) -> int:
        """End of the whole name, read from a word on; 0 when it does not stand there."""
        read = ""
        for last in range(first, len(words)):
            if last > first and not _near(text, words[last - 1], words[last]):
                break
            read += words[last][0]
            if (key := name_key(read)) == self.key:
                return last + 1
            if len(key) > len(self.key):
                break
        return 0

    def _run(self, text: str, words: Sequence[tuple[str, int, int]], first: int, cased: bool) -> int:
        """End of a run of the name's words within a sentence that begins with one of its own."""
        own, last, end = self.own_words, first, 0
        while last < len(words) and (folded := fold(words[last][0])) in self.words:
            if last > first and not _near(text, words[last - 1], words[last]):
                break
            common = cased and words[last][0].islower() and not own.get(folded, "").islower()
            capital = cased and words[last][0][0].isupper() and folded not in self.shared
            if (folded in own and not common) or (capital and last > first):
                end = last + 1
            elif last == first:
                return 0
            last += 1
        return end


def with_full_name(renaming: Renaming, texts: Iterable[str]) -> Renaming:
    """The renaming of the full name where lists in the knowledge give it: `2. Mira Holt (singer)` for the old `Holt`.

    An entry is taken for the full name when all its words are capitalized, the old name's words stand in it next to
    one another, and none of its words is another mention's.
    """
    old = " ".join(renaming.old)
    for text in texts:
        for match in _ENTRY.finditer(text):
            words = match.group(1).split()
            among = re.search(rf"(?<!\w){re.escape(old)}(?!\w)", match.group(1), re.IGNORECASE)
            fits = all(word[0].isupper() and fold(word) not in renaming.shared for word in words)
            if among and fits and len(renaming.old) < len(words) <= _LONGEST_ENTRY:
                return replace(renaming, old=tuple(words))
    return renaming


def rename(text: str, renamings: Iterable[Renaming]) -> str:
    """A text with all renamings applied, one after the other; empty when it still names an old entity."""
    renamings = list(renamings)
    for renaming in renamings:
        text = renaming.apply(text)
    return "" if any(renaming.names(text) for renaming in renamings) else text


def _near(text: str, left: tuple[str, int, int], right: tuple[str, int, int]) -> bool:
    """Whether two words can be of one name: near each other, and no sentence ends between them.

    A full stop behind a short word ends no sentence, as in `Dr. Aske`.
    """
    gap = text[left[2] : right[1]]
    ends = _SENTENCE_END.search(gap.replace(".", "") if len(left[0]) <= _ABBREVIATION else gap)
    return len(gap) <= _GAP and ends is None


def _is_part(folded: str, word: str) -> bool:
    begins, ends = len(word) >= _PREFIX and folded.startswith(word), len(word) >= _SUFFIX and folded.endswith(word)
    return folded == word or begins or ends


def _has_capitals(text: str) -> bool:
    return any(c.isupper() for c in text)


def with_knowledge(plan: AugmentPlan, row: dict, renamings: Sequence[Renaming], candidate: Candidate) -> Conversation:
    """Return a new record with its picture, caption and knowledge. Raises `Rejected` where a request has no answer.

    A post with other entities loses its picture, which shows the old ones; so does a post with an imagined caption.
    The candidate gets notes such as `cot_noun emptied`.
    """
    row = dict(row)
    renamings = [with_full_name(renaming, (row[column] or "" for column in COT_COLUMNS)) for renaming in renamings]
    if IMAGE in plan.kinds or renamings:
        row["image"] = None
    if IMAGE in plan.kinds:
        messages = opening(plan.prompts, plan.prompts["image"], detokenize(row["tokens"]))
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
        given = row.get("glosses") or ()
        glosses = ({name: rename(text or "", renamings) for name, text in gloss.items()} for gloss in given)
        row["glosses"] = [gloss for gloss in glosses if all(gloss.values())]
    return row


def _rename(row: dict, column: str, renamings: Sequence[Renaming], candidate: Candidate) -> None:
    before = row.get(column) or ""
    row[column] = rename(before, renamings)
    if before and not row[column]:
        candidate.notes.append(f"{column} emptied")


def _elicited(plan: AugmentPlan, row: dict, renamings: Sequence[Renaming], candidate: Candidate) -> Conversation:
    post = Post(row["id"], " ".join(row["tokens"]), columns={"caption": row["caption"] or ""})
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
