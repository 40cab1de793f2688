"""Fictional posts with lists of mentions: people, places, and things that are no entities."""

import random

from modeling_cotpd.data.schema import make_split

TAGS = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
FIRST = ["Mira", "Varro", "Ilse", "Tomas", "Oona", "Kell", "Brisa", "Dov", "Anwen", "Pell"]
LAST = ["Holt", "Quill", "Stone", "Ferrow", "Lindt", "Marsh", "Okoro", "Vane", "Dray", "Moor"]
PLACES = ["Lindmere", "Harlow", "Kettle Bay", "Quarry Lane", "Ostrand", "Velm", "Tarn Hill", "Selby Dock"]
THINGS = ["concert", "rain", "breakfast", "rehearsal", "traffic", "evening", "practice", "lunch"]
GLOSSES = {
    "PER": ["person/singer", "person/goalkeeper", "novelist", "singer and actress", "young novelist"],
    "LOC": ["place/harbour town", "city in the north", "place/street", "harbour", "northern city"],
    "": ["event/activity", "weather", "meal", "activity", "time of day"],
}


def make_posts(number, seed, labelled=None, split="train"):
    """A split of posts; only the first `labelled` have tags."""
    draw = random.Random(seed)
    rows = []
    for index in range(number):
        person, place = f"{draw.choice(FIRST)} {draw.choice(LAST)}", draw.choice(PLACES)
        thing = draw.choice(THINGS)
        tokens = [*person.split(), "leaves", *place.split(), "after", "the", thing, "."]
        words = len(place.split())
        tags = ["B-PER", "I-PER", "O", "B-LOC", *["I-LOC"] * (words - 1), "O", "O", "O", "O"]
        named = {"PER": person, "LOC": place, "": thing}
        glosses = [{"mention": name, "gloss": draw.choice(GLOSSES[kind])} for kind, name in named.items()]
        known = labelled is None or index < labelled
        rows.append(
            {"id": f"{split}{index}", "tokens": tokens, "ner_tags": tags if known else None, "glosses": glosses}
        )
    return make_split(rows, "mner", TAGS, split)
