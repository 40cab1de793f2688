"""Predictions in the form that spaCy's displaCy draws with `manual=True`, as entities or as arcs between them."""

import re


def displacy_post(row: dict) -> dict:
    """One post for `displacy.render(posts, style="ent", manual=True)`, and for `style="dep"`.

    Args:
        row (`dict`): `text`, `entities` and, for arcs, `relations`, as `TripleExtractor` gives them.

    Returns:
        `dict`: `text`, `ents` (`start`, `end`, `label`), `title`; and `words` with `arcs`, in which every entity is
        one word and every relation an arc from head to tail.

    Example:
        >>> entities = [{"start": 0, "end": 4, "type": "PER"}, {"start": 14, "end": 20, "type": "LOC"}]
        >>> relation = {"head": 0, "tail": 1, "relation": "lives_in", "score": 0.9}
        >>> post = {"id": "7", "text": "Maya lives in Harlow", "entities": entities, "relations": [relation]}
        >>> displacy_post(post)["arcs"]
        [{'start': 0, 'end': 3, 'label': 'lives_in', 'dir': 'right'}]
    """
    text, entities = row["text"], row["entities"]
    words: list[dict] = []
    places: list[int] = []
    done = 0
    for entity in entities:
        words += [{"text": word, "tag": ""} for word in re.findall(r"\S+", text[done : entity["start"]])]
        places.append(len(words))
        words.append({"text": text[entity["start"] : entity["end"]], "tag": entity["type"]})
        done = entity["end"]
    words += [{"text": word, "tag": ""} for word in re.findall(r"\S+", text[done:])]
    arcs = []
    for relation in row.get("relations", ()):
        head, tail = places[relation["head"]], places[relation["tail"]]
        # The arrow's head points to the tail of the relation
        direction = "right" if head < tail else "left"
        arcs.append(
            {"start": min(head, tail), "end": max(head, tail), "label": relation["relation"], "dir": direction}
        )
    ents = [{"start": entity["start"], "end": entity["end"], "label": entity["type"]} for entity in entities]
    return {"text": text, "ents": ents, "title": None, "words": words, "arcs": arcs}
