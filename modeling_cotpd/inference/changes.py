"""What the knowledge view predicts differently from the prompt view about one post."""

from collections.abc import Sequence

KINDS = ("added", "removed", "type", "span", "relation")
"""An entity or relation that only the knowledge view finds, or only the prompt view; an entity whose type, or whose
span, or a relation whose name is another."""


def entity_changes(prompt: Sequence[dict], knowledge: Sequence[dict]) -> list[dict]:
    """Entities in which two views differ, in the order of the text.

    Args:
        prompt, knowledge (`Sequence[dict]`): Entities of the two views, each with `start`, `end` and `type`.

    Returns:
        `list[dict]`: `kind` (`added`, `removed`, `type` or `span`), and the entities `prompt` and `knowledge`, of
        which one is `None` where nothing of the other view overlaps.

    Example:
        >>> before = {"start": 0, "end": 4, "type": "ORG"}
        >>> [change["kind"] for change in entity_changes([before], [{**before, "type": "PER"}])]
        ['type']
    """
    same = {_key(entity) for entity in prompt} & {_key(entity) for entity in knowledge}
    before = [entity for entity in prompt if _key(entity) not in same]
    after = [entity for entity in knowledge if _key(entity) not in same]
    changes = []
    for entity in before:
        other = max(after, key=lambda candidate: _overlap(entity, candidate), default=None)
        if other is None or not _overlap(entity, other):
            changes.append({"kind": "removed", "prompt": entity, "knowledge": None})
            continue
        after.remove(other)
        kind = "type" if _span(entity) == _span(other) else "span"
        changes.append({"kind": kind, "prompt": entity, "knowledge": other})
    changes += [{"kind": "added", "prompt": None, "knowledge": entity} for entity in after]
    return sorted(changes, key=lambda change: (change["knowledge"] or change["prompt"])["start"])


def relation_changes(prompt: dict, knowledge: dict) -> list[dict]:
    """Relations in which two views of one post differ.

    Args:
        prompt, knowledge (`dict`): Either of one pair, with `relation`; or of triples, with `entities` and
            `relations`, whose `head` and `tail` are numbers of entities.

    Returns:
        `list[dict]`: `kind` (`added`, `removed` or `relation`), and `prompt` and `knowledge`: each `None`, or a
        `dict` with `relation` and `score`, for triples also with `head` and `tail` as spans [start, end].
    """
    if "relations" not in prompt:
        if prompt["relation"] == knowledge["relation"]:
            return []
        sides = [{name: view[name] for name in ("relation", "score")} for view in (prompt, knowledge)]
        return [{"kind": "relation", "prompt": sides[0], "knowledge": sides[1]}]
    # An entity whose span is another is still the same end of its relations
    moved = {
        _span(change["prompt"]): _span(change["knowledge"])
        for change in entity_changes(prompt["entities"], knowledge["entities"])
        if change["kind"] == "span"
    }
    before, after = _by_pair(prompt, moved), _by_pair(knowledge, {})
    changes = []
    for pair in sorted({*before, *after}):
        old, new = before.get(pair), after.get(pair)
        if old is None or new is None:
            changes.append({"kind": "added" if old is None else "removed", "prompt": old, "knowledge": new})
        elif old["relation"] != new["relation"]:
            changes.append({"kind": "relation", "prompt": old, "knowledge": new})
    return changes


def _key(entity: dict) -> tuple[int, int, str]:
    return *_span(entity), entity["type"]


def _overlap(one: dict, other: dict) -> int:
    """How many characters two entities share."""
    return max(0, min(one["end"], other["end"]) - max(one["start"], other["start"]))


def _span(entity: dict) -> tuple[int, int]:
    return entity["start"], entity["end"]


def _by_pair(view: dict, moved: dict[tuple[int, int], tuple[int, int]]) -> dict[tuple, dict]:
    """The relations of a post by the spans of their two entities, in the other view's words where they moved."""
    pairs = {}
    for relation in view["relations"]:
        head, tail = (_span(view["entities"][relation[side]]) for side in ("head", "tail"))
        pairs[moved.get(head, head), moved.get(tail, tail)] = {**relation, "head": head, "tail": tail}
    return pairs
