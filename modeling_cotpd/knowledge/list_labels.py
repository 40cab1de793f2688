"""Labels from lists: which of the mentions that a language model listed are entities, and of which type."""

import os
import warnings
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import regex
from datasets import Dataset, Features, List, Value
from sklearn.calibration import calibration_curve
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedGroupKFold

from modeling_cotpd.data.bio import entities
from modeling_cotpd.data.entities import entity_tags
from modeling_cotpd.data.glosses import MAX_GLOSSES, find_glosses
from modeling_cotpd.data.prepared import read_prepared, sample_rows, write_prepared
from modeling_cotpd.data.schema import gold_labels, label_names_of
from modeling_cotpd.data.words import word_spans
from modeling_cotpd.errors import DataError, SettingError, check_at_least
from modeling_cotpd.files import require_empty, staged_folder, write_json, write_json_lines
from modeling_cotpd.metrics.counts import precision_recall_f1
from modeling_cotpd.metrics.entity_score.entity_score import entity_scores

FOLDS = 5
REGULARIZATION = (0.03, 0.1, 0.3, 1.0)
"""Values of scikit-learn's `C` that cross-validation compares."""
THRESHOLDS = tuple(round(0.15 + 0.05 * step, 2) for step in range(12))
"""Thresholds that cross-validation compares."""
NO_GLOSS, NOT_FOUND, REPEATED = "no gloss", "not in the text", "listed before"
NOT_AN_ENTITY, OVERLAP = "score below the threshold", "overlaps a mention with a higher score"
GOLD, LIST, UNLABELLED = "gold", "list", ""
"""Values of the column `label_source`."""
VIEW = "knowledge"
"""What the results of a training run call the view that reads knowledge."""
LABEL_COLUMNS = {
    "label_source": Value("string"),
    "list_entities": List(
        {"start": Value("int32"), "end": Value("int32"), "type": Value("string"), "score": Value("float32")}
    ),
}
REJECTS_FILE = "rejects.jsonl"


@dataclass
class ListedMention:
    """A listed mention at one place of a post.

    Args:
        start, end (`int`): First word and the one after the last; -1 when it has no place.
        features (`tuple[str, ...]`): What the model reads; empty when the mention is no candidate.
        type (`str`), score (`float`): The most probable entity type and its probability.
        reason (`str`): Why it is not an entity; empty for an entity.
    """

    mention: str
    gloss: str
    start: int = -1
    end: int = -1
    features: tuple[str, ...] = field(default=(), repr=False)
    type: str = ""
    score: float = 0.0
    reason: str = ""


def read_list(tokens: Sequence[str], glosses: Iterable[dict[str, str]]) -> list[ListedMention]:
    """Find every occurrence of a listed mention in a post; one that does not stand there comes once, without features.

    Example:
        >>> [(each.start, each.end) for each in read_list(["#", "MiraHolt"], [{"mention": "Mira Holt", "gloss": "a"}])]
        [(1, 2)]
    """
    text, spans = " ".join(tokens), word_spans(tokens)
    starts, ends = [start for start, _ in spans], [end for _, end in spans]
    listed: list[ListedMention] = []
    seen = set()
    for item in list(glosses)[:MAX_GLOSSES]:
        mention, gloss = item["mention"], item["gloss"]
        found = find_glosses(text, [item])
        if not found:
            listed.append(ListedMention(mention, gloss, reason=NOT_FOUND if gloss.strip() else NO_GLOSS))
        for first, last, _ in found:
            start, end = bisect_right(ends, first), bisect_left(starts, last)
            if (start, end) in seen:
                listed.append(ListedMention(mention, gloss, start, end, reason=REPEATED))
                continue
            seen.add((start, end))
            around = text[starts[start] : first], text[first:last], text[last : ends[end - 1]]
            features = tuple(_features(tokens, start, end, around, gloss))
            listed.append(ListedMention(mention, gloss, start, end, features))
    return listed


def _features(tokens: Sequence[str], start: int, end: int, around: tuple[str, str, str], gloss: str) -> Iterator[str]:
    """Features of the gloss, of the mention, of its place and of its neighbours."""
    before, mention, after = around  # within the mention's words: what precedes it, itself, what follows it
    words = regex.findall(r"\w+", gloss.casefold())
    yield from (f"gloss word {word}" for word in words)
    yield from (f"gloss part {part}" for part in _ngrams(" ".join(words), 3, 4))
    if words:
        yield from (f"gloss {' '.join(words)}", f"gloss first {words[0]}", f"gloss last {words[-1]}")
    parts = mention.split()
    yield from (f"mention word {part.casefold()}" for part in parts)
    yield from (f"mention part {part}" for part in _ngrams(mention.casefold(), 3))
    yield f"shape {_shape(mention)}"
    yield f"words {min(end - start, 5)}"
    yield f"length {min(len(mention) // 4, 6)}"
    yield f"capitals {all(part[0].isupper() for part in parts)} {mention.isupper()} {mention.islower()}"
    previous = tokens[start - 1].casefold() if start else "^"
    mark = (before or previous)[-1:]
    yield f"hashtag {mark in '#＃'} handle {mark in '@＠'}"
    yield f"within words {bool(before)} {bool(after)}"
    yield f"begins {start == 0} ends {end == len(tokens)}"
    yield f"place {4 * start // len(tokens)}"
    yield f"previous {previous}"
    yield f"next {tokens[end].casefold() if end < len(tokens) else '$'}"


def _ngrams(text: str, *lengths: int) -> Iterator[str]:
    text = f" {text} "
    return (text[i : i + length] for length in lengths for i in range(len(text) - length + 1))


def _shape(text: str) -> str:
    """`Aa Aa9` for "Mira Holt7"."""
    for characters, letter in ((r"\p{Lu}+", "A"), (r"[\p{Ll}\p{Lo}]+", "a"), (r"\p{N}+", "9")):
        text = regex.sub(characters, letter, text)
    return text


def resolve(row: Sequence[ListedMention], threshold: float) -> None:
    """Give every candidate of a row its `reason`; of overlapping ones the best score wins."""
    taken: set[int] = set()
    for each in sorted((each for each in row if each.features), key=lambda each: -each.score):
        words = range(each.start, each.end)
        each.reason = NOT_AN_ENTITY if each.score < threshold else "" if taken.isdisjoint(words) else OVERLAP
        if not each.reason:
            taken.update(words)


def found_entities(row: Sequence[ListedMention]) -> list[dict]:
    """`start`, `end` (words, end excluded), `type` and `score` of the row's entities, in the order of the text."""
    return [
        {"start": each.start, "end": each.end, "type": each.type, "score": round(each.score, 4)}
        for each in sorted(row, key=attrgetter("start"))
        if not each.reason
    ]


def bio_tags(row: Sequence[ListedMention], words: int) -> list[str]:
    """The row's entities as one BIO tag per word."""
    return entity_tags(found_entities(row), [(word, word + 1) for word in range(words)])


class ListLabeller:
    """Decides which listed mentions are entities: multinomial logistic regression over gloss, mention and neighbours.

    The classes are the entity types and none. Five-fold cross-validation over posts chooses the regularization by log
    loss, so that scores are probabilities, and then the threshold by F1. A mention that the list lacks is never found.
    `report` holds what cross-validation chose, and its `f1`, `log_loss` and `calibration_error`.

    Args:
        posts (`Dataset`): MNER rows with `tokens`, `glosses` and `ner_tags`, none of which is `None`.
        threshold (`float`, *optional*): The lowest score of an entity, between 0 and 1, instead of the chosen one.
    """

    def __init__(self, posts: Dataset, threshold: float | None = None):
        if threshold is not None and not 0 < threshold < 1:
            raise SettingError(f"threshold must lie between 0 and 1, got {threshold}.")
        self.types = list(dict.fromkeys(name[2:] for name in label_names_of(posts.features) if name != "O"))
        rows = [read_list(*row) for row in zip(posts["tokens"], posts["glosses"], strict=True)]
        gold = [entities(tags, lenient=True) for tags in gold_labels(posts)]
        classes, owners = self._classes(rows, gold), np.array([number for number, _ in _numbered(rows)])
        if len(set(owners)) < FOLDS or np.bincount(classes).max() < FOLDS:
            raise _too_few(posts, classes)
        self._vectorizer = CountVectorizer(analyzer=attrgetter("features"), binary=True)
        inputs = self._vectorizer.fit_transform(_candidates(rows))
        with warnings.catch_warnings():  # a type that few posts have is usual when labels are few
            warnings.filterwarnings("ignore", "The least populated class", UserWarning)
            folds = list(StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0).split(inputs, classes, owners))
        if any(len(set(classes[seen])) < 2 for seen, _ in folds):
            raise _too_few(posts, classes)
        held_out = {value: self._held_out(inputs, classes, folds, value) for value in REGULARIZATION}
        labels = range(len(self.types) + 1)
        losses = {value: log_loss(classes, scores, labels=labels) for value, scores in held_out.items()}
        strength = min(losses, key=lambda value: losses[value])
        self._score(rows, held_out[strength])
        f1 = {value: _f1(rows, gold, value) for value in ([threshold] if threshold else THRESHOLDS)}
        self.threshold = max(f1, key=lambda value: f1[value])
        self._model = LogisticRegression(C=strength, max_iter=1000).fit(inputs, classes)
        self.report = {
            "labelled_rows": len(posts),
            "candidates": len(classes),
            "C": strength,
            "threshold": self.threshold,
            "threshold_chosen_by": "the user" if threshold else "cross-validated F1",
            "f1": f1[self.threshold],
            "log_loss": losses[strength],
            "calibration_error": calibration_error(held_out[strength], classes),
        }

    def __call__(self, posts: Dataset) -> list[list[ListedMention]]:
        """Score the listed mentions of every row and say which are entities. Labels of the rows are not read."""
        rows = [read_list(*row) for row in zip(posts["tokens"], posts["glosses"], strict=True)]
        if candidates := _candidates(rows):
            self._score(rows, self._probabilities(candidates))
        for row in rows:
            resolve(row, self.threshold)
        return rows

    def calibration_error(self, rows: Sequence[Sequence[ListedMention]], gold: Sequence[Sequence[tuple]]) -> float:
        """`calibration_error` on rows that `__call__` returned, with their gold entities as (type, start, end)."""
        candidates = _candidates(rows)
        return calibration_error(self._probabilities(candidates), self._classes(rows, gold)) if candidates else 0.0

    def _probabilities(self, candidates: Sequence[ListedMention]) -> np.ndarray:
        scores = np.zeros((len(candidates), len(self.types) + 1))
        scores[:, self._model.classes_] = self._model.predict_proba(self._vectorizer.transform(candidates))
        return scores

    def _classes(self, rows: Sequence[Sequence[ListedMention]], gold: Sequence[Sequence[tuple]]) -> np.ndarray:
        """Per candidate 0 for none, or 1 + its type: only a span that is exactly an entity's counts."""
        numbers = {kind: number for number, kind in enumerate(self.types, 1)}
        known = [{(start, end): numbers[kind] for kind, start, end in row} for row in gold]
        return np.array([known[row].get((each.start, each.end), 0) for row, each in _numbered(rows)], dtype=int)

    def _held_out(self, inputs: Any, classes: np.ndarray, folds: list, strength: float) -> np.ndarray:
        """Probabilities (candidates, 1 + types) by models that have not seen the candidate's post."""
        scores = np.zeros((len(classes), len(self.types) + 1))
        for seen, held in folds:
            model = LogisticRegression(C=strength, max_iter=1000).fit(inputs[seen], classes[seen])
            scores[np.ix_(held, model.classes_)] = model.predict_proba(inputs[held])
        return scores

    def _score(self, rows: Sequence[Sequence[ListedMention]], scores: np.ndarray) -> None:
        for each, row in zip(_candidates(rows), scores[:, 1:], strict=True):
            best = int(row.argmax())
            each.type, each.score = self.types[best], float(row[best])


def calibration_error(scores: np.ndarray, classes: np.ndarray) -> float:
    """Expected calibration error of probabilities (candidates, classes), over ten bins of equal size."""
    right = scores.argmax(1) == classes
    accuracy, confidence = calibration_curve(right, scores.max(1), n_bins=10, strategy="quantile")
    return float(np.abs(accuracy - confidence).mean())


def _f1(rows: Sequence[Sequence[ListedMention]], gold: Sequence[Sequence[tuple]], threshold: float) -> float:
    correct = predicted = 0
    for row, wanted in zip(rows, gold, strict=True):
        resolve(row, threshold)
        found = {(each.type, each.start, each.end) for each in row if not each.reason}
        correct, predicted = correct + len(found & set(wanted)), predicted + len(found)
    return precision_recall_f1(correct, predicted, sum(map(len, gold)))["f1"]


def _numbered(rows: Sequence[Sequence[ListedMention]]) -> Iterator[tuple[int, ListedMention]]:
    return ((number, each) for number, row in enumerate(rows) for each in row if each.features)


def _candidates(rows: Sequence[Sequence[ListedMention]]) -> list[ListedMention]:
    return [each for _, each in _numbered(rows)]


def _too_few(posts: Dataset, classes: np.ndarray) -> DataError:
    message = (
        f"{len(posts)} labelled posts with {len(classes)} listed mentions in their text are too few to learn from."
    )
    return DataError(message, fix="Label more posts that have glosses; 50 are a beginning.")


def label_folder(
    source: str | os.PathLike,
    out: str | os.PathLike,
    *,
    max_labelled_samples: int | None = None,
    sample_seed: int = 0,
    threshold: float | None = None,
    evaluate: bool = False,
) -> dict:
    """Copy a prepared MNER folder and label its unlabelled training posts from their glosses.

    Labelled posts keep their labels. A post of which no listed mention stands in the text stays unlabelled. The
    training split gets the columns `label_source` (`gold`, `list`, or empty for unlabelled) and `list_entities`
    (`start`, `end`, `type`, `score`). `rejects.jsonl` lists every mention that is no entity, with the reason.

    Args:
        max_labelled_samples (`int`, *optional*), sample_seed (`int`): Use the labels of a random sample of this many
            training posts only, the same that a training run draws; those of the others are ignored and replaced.
        threshold (`float`, *optional*): The lowest score of an entity; cross-validation chooses it by default.
        evaluate (`bool`): Also write `results.json` and `predictions.SPLIT.jsonl` as a training run does: scores on
            the gold labels of every other split, and on the `unlabelled` training posts whose labels were ignored.

    Returns:
        `dict`: What `results.json` holds; `splits` is empty without `evaluate`.
    """
    out = require_empty(out)
    splits, info = read_prepared(source)
    if info.task != "mner":
        fix = "Use an MNER folder."
        raise DataError("This is a data set for mre; lists label entities.", place=str(source), fix=fix)
    if "train" not in splits:
        raise DataError("There is no training split.", place=str(source))
    train = splits["train"]
    if "label_source" in train.column_names:
        fix = "Label the original folder."
        raise DataError("The posts were labelled from lists before.", place=str(source), fix=fix)
    sample = train
    if max_labelled_samples is not None:
        check_at_least(max_labelled_samples, 1, "max_labelled_samples")
        sample = sample_rows(train, min(max_labelled_samples, len(train)), sample_seed)
    used = set(sample["id"])
    known = [id in used and tags is not None for id, tags in zip(train["id"], train["ner_tags"], strict=True)]
    labelled, rest = (train.select([i for i, has in enumerate(known) if has is wanted]) for wanted in (True, False))
    if not len(rest) and not evaluate:
        fix = "Give --max-labelled-samples, or --evaluate."
        raise DataError("Every training post is labelled.", place=str(source), fix=fix)
    labeller = ListLabeller(labelled, threshold)
    rows = labeller(rest)
    found = sum(map(_has_candidate, rows))
    reasons = Counter(each.reason or "entity" for row in rows for each in row)
    made = {
        "method": "list labels",
        **labeller.report,
        "max_labelled_samples": max_labelled_samples,
        "sample_seed": sample_seed,
        "labelled_from_lists": found,
        "left_unlabelled": len(rows) - found,
        "listed_mentions": dict(reasons.most_common()),
    }
    about = {"task": info.task, "dataset": asdict(info), "reading": "words", "train_rows": len(labelled)}
    results: dict = {**about, "labels": made, "splits": {}}
    written = replace(info, provenance={**info.provenance, "labels": made})
    with staged_folder(out) as staging:
        write_prepared({**splits, "train": _with_labels(train, known, rows, info.label_names)}, written, staging)
        rejects = (reject for id, row in zip(rest["id"], rows, strict=True) for reject in _rejects(id, row))
        write_json_lines(staging / REJECTS_FILE, rejects)
        if evaluate:
            results["splits"] = _evaluate(labeller, {**splits, "train": rest}, staging)
            write_json(staging / "results.json", results)
    return results


def _has_candidate(row: Sequence[ListedMention]) -> bool:
    return any(each.features for each in row)


def _with_labels(
    train: Dataset, known: list[bool], rows: list[list[ListedMention]], label_names: Sequence[str]
) -> Dataset:
    ids = {name: number for number, name in enumerate(label_names)}
    columns: dict[str, list] = {**train.to_dict(), "label_source": [], "list_entities": []}
    remaining = iter(rows)
    for number, (has, tokens) in enumerate(zip(known, train["tokens"], strict=True)):
        row = [] if has else next(remaining)
        columns["label_source"].append(GOLD if has else LIST if _has_candidate(row) else UNLABELLED)
        columns["list_entities"].append(found_entities(row))
        if not has:
            tags = [ids[tag] for tag in bio_tags(row, len(tokens))]
            columns["ner_tags"][number] = tags if _has_candidate(row) else None
    return Dataset.from_dict(columns, features=Features({**train.features, **LABEL_COLUMNS}))


def _rejects(id: str, row: Sequence[ListedMention]) -> list[dict]:
    lines = []
    for each in row:
        if each.reason:
            about: dict = {"id": id, "mention": each.mention, "gloss": each.gloss}
            if each.start >= 0:
                about |= {"start": each.start, "end": each.end}
            if each.features:
                about |= {"type": each.type, "score": round(each.score, 4)}
            lines.append({**about, "reason": each.reason})
    nothing = {"id": id, "reason": "no listed mention to decide on: the post stays unlabelled"}
    return lines if _has_candidate(row) else [*lines, nothing]


def _evaluate(labeller: ListLabeller, splits: dict[str, Dataset], folder: Path) -> dict[str, dict]:
    """Scores on the gold labels of every split; writes the predictions of those other than `train`."""
    results = {}
    for name, split in splits.items():
        split = split.select([index for index, tags in enumerate(split["ner_tags"]) if tags is not None])
        if not len(split):
            continue
        rows, gold = labeller(split), gold_labels(split)
        tags = [bio_tags(row, len(tokens)) for row, tokens in zip(rows, split["tokens"], strict=True)]
        error = labeller.calibration_error(rows, [entities(row, lenient=True) for row in gold])
        scores = {**entity_scores(tags, gold), "calibration_error": error}
        results["unlabelled" if name == "train" else name] = {VIEW: scores}
        if name != "train":
            columns = zip(split["id"], split["tokens"], gold, tags, strict=True)
            predictions = (dict(zip(("id", "tokens", "gold", VIEW), values, strict=True)) for values in columns)
            write_json_lines(folder / f"predictions.{name}.jsonl", predictions)
    return results
