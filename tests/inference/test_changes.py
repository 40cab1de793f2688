"""What differs between two views."""

from modeling_cotpd.inference.changes import entity_changes, relation_changes


def entity(start: int, end: int, kind: str = "PER", score: float = 0.9) -> dict:
    return {"start": start, "end": end, "type": kind, "score": score, "text": "x" * (end - start)}


def kinds(changes: list[dict]) -> list[tuple]:
    def span(side):
        return side and (side["start"], side["end"], side["type"])

    return [(change["kind"], span(change["prompt"]), span(change["knowledge"])) for change in changes]


def test_equal_views_differ_in_nothing_whatever_their_scores():
    assert entity_changes([entity(0, 4), entity(9, 12)], [entity(0, 4, score=0.1), entity(9, 12)]) == []


def test_every_kind_of_change_in_the_order_of_the_text():
    prompt = [entity(0, 4), entity(10, 14, "ORG"), entity(20, 29), entity(40, 44)]
    knowledge = [entity(0, 4), entity(10, 14, "LOC"), entity(20, 24, "MISC"), entity(50, 54)]
    assert kinds(entity_changes(prompt, knowledge)) == [
        ("type", (10, 14, "ORG"), (10, 14, "LOC")),
        ("span", (20, 29, "PER"), (20, 24, "MISC")),
        ("removed", (40, 44, "PER"), None),
        ("added", None, (50, 54, "PER")),
    ]


def test_of_two_that_overlap_the_one_that_shares_more_is_meant():
    changes = entity_changes([entity(0, 10)], [entity(0, 3), entity(4, 10)])
    assert kinds(changes) == [("added", None, (0, 3, "PER")), ("span", (0, 10, "PER"), (4, 10, "PER"))]


def test_the_relation_of_one_pair():
    before, after = {"relation": "None", "score": 0.5}, {"relation": "/per/loc", "score": 0.6}
    assert relation_changes(before, dict(before, score=0.9)) == []
    (change,) = relation_changes(before, after)
    assert (change["kind"], change["prompt"]["relation"], change["knowledge"]["relation"]) == (
        "relation",
        "None",
        "/per/loc",
    )


def triples(entities: list[dict], *relations: tuple[int, int, str]) -> dict:
    rows = [{"head": head, "tail": tail, "relation": name, "score": 0.5} for head, tail, name in relations]
    return {"entities": entities, "relations": rows}


def test_relations_between_entities_are_told_by_their_spans():
    before = triples([entity(0, 4), entity(9, 12), entity(20, 24)], (0, 1, "a"), (0, 2, "b"), (1, 2, "c"))
    after = triples([entity(0, 4), entity(20, 24)], (0, 1, "d"), (1, 0, "e"))
    changes = relation_changes(before, after)
    assert [change["kind"] for change in changes] == ["removed", "relation", "removed", "added"]
    assert changes[1]["prompt"]["tail"] == changes[1]["knowledge"]["tail"] == (20, 24)


def test_an_entity_whose_span_moved_keeps_its_relations():
    before = triples([entity(0, 4), entity(9, 19)], (0, 1, "a"))
    after = triples([entity(0, 4), entity(9, 14)], (0, 1, "a"))
    assert relation_changes(before, after) == []
