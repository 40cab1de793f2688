"""Write the fictional sample corpus: an invented world, posts about it, and what a language model might say of them.

    python examples/make_sample.py modeling_cotpd/data/sample

The same files come out every time. See the README beside them for what the corpus is and is not.
"""

import json
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from modeling_cotpd.data.duplicates import normalise

# kind: type, what a gloss may call it, what its picture may show, names. A name with @ is a handle.
WORLD = """
goalkeeper|PER|keeper/footballer|a goalkeeper in a green jersey diving to his left|Varro Quill, @varroquill, Marcellin Yebo
striker|PER|footballer/forward|a football player with both arms in the air|Maya Stone, @mayastone, Pilot, Imre Dosz
singer|PER|vocalist/songwriter|a woman with a microphone under blue light|Low Tide, Juno Ashgrove, Velvet, @saltpetal, 竹森ジュン
drummer|PER|musician|a man behind a drum kit|Kettle, Bram Ostler, @tinroof_ada
sprinter|PER|athlete/runner|a runner on a red track|Monday, Nadja Kolt, @quickfen, Ивар Волд
coach|PER|trainer/manager of a team|an older man in a tracksuit at a press table|Goose, Gus Moorhaven
chef|PER|cook|a cook in a white jacket holding a pan|Saffron Wick, Odile Pasco, @panfried_lu
mayor|PER|politician|a person in a suit behind a lectern|Hollis Greaves, Corrie Vantong
comedian|PER|stand-up comic|a person on a stool in front of a red curtain|Small Hours, Dot Perrault, @notthepostman
painter|PER|artist|a painter beside a large canvas|North Window, Emeka Sorrel, @inkandrye
cyclist|PER|racing cyclist/rider|a cyclist on a steep road|Copper, Liesl Adair, @hillbeast77
presenter|PER|television host|a smiling person at a studio desk|Uncle Weather, Ravi Lunt, @marnie_k88
band|ORG|indie band/group of musicians|four musicians on a small stage|Osk Harbour, Port Sallow, Widow Marsh, Northgate, Eleven Swans
football club|ORG|club/football team|players in green shirts lift a cup|Lindmere Athletic, Fenwick Otters, Tarsk Miners, Old Bridge
basketball team|ORG|team/sports club|players around a hoop in a full hall|Halden Lamps, Ashby Row, Kettle Bay Gulls
hospital|ORG|clinic|a long corridor with white doors|Saint Odrin, Mercy Hill, Queen Ysolde
restaurant chain|ORG|chain of restaurants/company|a tray with soup and bread|Aunt Jessamy, Little Orchard, Brown Pigeon
brewery|ORG|company that brews beer|a row of brown bottles|Captain Wren, Mossfoot, Two Rivers
newspaper|ORG|daily paper/publisher|a folded newspaper on a table|Morning Lantern, Tarsk Evening
airline|ORG|company with planes|a plane on a wet runway|Blue Meridian, Corvane
bookshop|ORG|shop that sells books|tall shelves full of books|Marlow Penn, Third Floor
radio station|ORG|broadcaster|a microphone in a small studio|Night Orchard, Gullwave, @sedge98
software company|ORG|studio that makes games/firm|people in front of large screens|Ninepin, Brindle, @hexleystudio
town|LOC|small town/place|a market square with red roofs|Harlow, Ferrowick, Brightwater, Sedgewater, Mirabel, Old Constance, Møllevik
island|LOC|island in the north sea|cliffs and a white lighthouse|Little Agnes, Skerrin, Lost Daughter, زهرنتا
concert hall|LOC|venue/hall|a crowd in front of a lit stage|Tallow Rooms, Paper Mill, Grand Juniper
park|LOC|public park/green space|people on a lawn under trees|Sister Meadow, Corbel Green, Harlow Park
street|LOC|shopping street/road|a narrow street with bicycles|Candlewick, Glass Lane, Tinker Rest
harbour|LOC|port|fishing boats at a quay|Bell Anchor, Penny Quay, Jonah
mountain|LOC|peak|a snowy peak above a forest|Old Margaret, Grey Abbot
lake|LOC|body of water|a still lake in the morning|Mirror Anne, Tolliver
beach|LOC|stretch of coast|footprints on a wide beach|Whistle Sands, Dorothea
stadium|LOC|sports ground/arena|floodlights over a stadium|Herons Nest, Ironside
song|MISC|hit/track|the cover of a record|Cold Butter, Marble Tuesday, Letters to Anselm
film|MISC|movie/drama|a poster in front of a cinema|Glass Otter, Brother Tide, Nine Tin Kings
festival|MISC|yearly event/fair|tents and coloured flags|Ember Week, Lantern Fair, Saltmarsh
horse race|MISC|race/sports event|horses under floodlights|Hush Derby, Lady Thistle
board game|MISC|game for the family|cards and wooden figures on a table|Fox and Ferry, Tidewrack
app|MISC|application for phones|a phone with a yellow screen|Pocketcrow, Loomi, Driftly
prize|MISC|award/trophy|a silver cup on a cushion|Silver Thimble, Golden Kipper
series|MISC|television series/show|two people on a sofa in front of a screen|Doctor Hallow, Long Ferry, Millstone
novel|MISC|book/work of fiction|an open book and a cup|Winter Postman, Miss Amaranth, Salt Cathedral
"""
# How a gloss may begin
TYPE_WORDS = {
    "PER": ("person",), "ORG": ("organization",), "LOC": ("location",), "MISC": ("work or event", "product"),
}  # fmt: skip
# Names of the documents' examples. None of these occurs in a labelled post, all occur in unlabelled ones.
FEATURED = {
    "Varro Quill", "@varroquill", "Maya Stone", "@mayastone", "Harlow Park", "Osk Harbour", "Lindmere Athletic", "Fenwick Otters", "Ferrowick",
    "Tallow Rooms", "Brightwater", "Harlow",
}  # fmt: skip
# Parts of more names, each of which occurs in one or two posts
GIVEN = """Tamsin Edda Orrin Lucan Petra Wyn Basil Ansa Corin Marit Teodor Isolde Fenna Rufus Oona Casimir Brenna Elio Hedda
Jarek Linnea Osric Pia Quentin Runa Soren Thora Ulla Viggo Zelda""".split()
FAMILY = """Hartwell Brambling Okande Sorley Fisk Marchetti Dunmore Valk Pettigrew Ostrand Lisle Kowal Tremaine Vask Ridley
Hollander Abreu Kinsey Moss Tarrant Ulven Yarrow Penrose Crake Stroud Welling Ashe Bellamy Carrick Doyle-Finch""".split()
FIRST = """Amber Broken Crimson Dusty Early Faint Gilded Hollow Ivory Jolly Keen Little Mellow Narrow Odd Plain Quiet Rusty
Silent Tender Upper Vivid Wild Yellow Bitter Clever Distant Empty Frozen Gentle Honest Iron Kind Lazy Merry""".split()
LAST = """Anchor Basket Candle Drum Engine Feather Garden Hammer Island Jewel Kite Ladder Mirror Needle Orchard Pepper Quarry
Ribbon Saddle Thunder Umber Violin Window Yard Arrow Barrel Cedar Dove Ember Forge Glove Hazel Inkwell Juniper""".split()
START = "Bal Cor Dra Els Fen Gor Hal Ist Jor Kal Lum Mor Nev Ost Pral Quen Ros Sel Tor Ulm Ver Wex Yar Zin".split()
END = "dan wick mere ova strel by don ika land mont nax oria pell quist ra sken tane vale wyn zar".split()
# Posts of one mention: some say what it is, most leave it open.
OPEN = """
X again tonight|still thinking about X|no one warned me about X|X never disappoints|ok but X though|my whole week was X
nothing beats X|why is everyone talking about X|X just made my day|say what you want , X is the best|X and a cup of tea
waited all year for X|three words : X forever|not me crying over X|can we talk about X|the queue for X is unreal
somebody explain X to my dad|X was better last year|grandma asked about X|one more day until X|X : a thread
my brother will not shut up about X|this is your reminder that X exists|X > everything|nobody does it like X
we need to talk about X|proud of X today|X in the news again|thank you X|who else grew up with X|miss X already
all i want is X|X , but make it weird|wrote an essay on X|first look at X|so this is X|X ruined my sleep|yes to X
a whole podcast about X ?|the best thing this year is X|i drew X from memory|dreamt of X|X or nothing|so over X
"""
CLEAR = {
    "PER": """happy birthday X|X signed my shirt|X says she is staying|just met X in the lift|X broke her leg in training
congrats to X on the new job|X called his mother on live tv|interview with X at nine|X was so kind to my kids""",
    "ORG": """X is hiring again|X fans are the loudest|X closed two branches|X apologised for the delay|just signed for X
X has sacked half the staff|so proud of the X|X sold out in an hour|my cousin works for X|she used to play for X""",
    "LOC": """moved to X last spring|traffic near X is terrible|sunset over X|the last bus to X|it snowed in X
a weekend in X|road closed at X|waiting for the X ferry|see you in X|lost my keys somewhere in X""",
    "MISC": """X comes out on friday|just finished X , five stars|X on repeat|tickets for X are gone|X got a second part
crying at the end of X|X beats every other one this year|gave X two stars""",
}
TWO = """
X and Y on the same day|from X to Y in one evening|X before Y , always|X at Y tonight|X with Y|X , Y , no sleep
everyone is fighting over X and Y|if you like X you will love Y|X sold out the Y|X for Y , what a move|X versus Y
X made me forget Y|thanks X , thanks Y|X and then Y , what a year|X meets Y|take X , leave Y
"""
NONE = """
two herons by the canal , barely moved for an hour|no derby day nerves yet|new phone who dis|my horse is called Gerald
the harbour smells of diesel again|a goose chased me through the car park|it is only monday|cold butter on warm toast
lost my lantern on the way home|who put marbles in the sink|grandpa fixed the old bridge himself|the kettle is on
someone parked on the lawn|my cat hates the rain|three buses at once|the queue at the bank is endless|i need a nap
forgot my umbrella|what a sunset|eating soup for breakfast|my sister dyed her hair blue|printer is on fire , send help
gym was empty|the lift is broken|learning the drums at forty|a fox on the roof|soup of the day is soup|my feet hurt
"""
TAILS = """
||||||||||!!|lol|tbh|ngl|😭|🙌|🔥|❤️|😂😂|🤖👏🏽|# mood|# blessed|# monday|with my sister|before work|in the rain
and i am not okay|for the third time this week|who else ?|anyway how are you|sorry not sorry|and no regrets|on the train
at 3 am|send help|via @ dailyfeed|this morning|don't @ me|just wow
"""
HEADS = "|||||||||||||omg|omg|RT @ nightbus :|RT @ latebus_lena :|ok so|honestly|update :|hey @ dailyfeed ,|lads ,|hm ."
# What a list of nouns says of words that are no names
NOUNS = dict(
    item.split("=")
    for item in """queue=line of people|tea=drink|coffee=drink|rain=weather|coat=piece of clothing|train=means of
transport|bus=vehicle|ferry=boat|nap=short sleep|sister=relative|brother=relative|grandma=relative|dad=relative|news=
information|shirt=piece of clothing|lift=machine|keys=objects|essay=text|podcast=recording|herons=birds|canal=waterway|
horse=animal|harbour=place for ships|goose=bird|toast=food|lantern=light|marbles=toys|bridge=structure|kettle=device|
lawn=grass|cat=animal|bank=institute|umbrella=object|sunset=time of day|soup=food|hair=part of the body|printer=machine|
gym=place for sport|drums=instrument|fox=animal|roof=part of a house|feet=part of the body|week=period|phone=device""".replace(
        "\n", " "
    ).replace("= ", "=").replace("| ", "|").split("|")
)  # fmt: skip
RELATIONS = {
    ("PER", "ORG"): "/per/org/member_of",
    ("PER", "LOC"): "/per/loc/place_of_residence",
    ("ORG", "LOC"): "/org/loc/locate_at",
    ("PER", "PER"): "/per/per/peer",
    ("MISC", "LOC"): "/misc/loc/held_on",
}
# Posts of a pair: Y is the tail. Most leave the relation to the types of the two.
PAIRS = """
X in Y|X at Y again|Y has X|X x Y|X and Y , name a better pair|home is X with Y|X belongs to Y|Y would be nothing without X
there is no Y without X|X , pride of Y|X loves Y|X til the end with Y|only X could do this to Y|Y : X|X of Y|X is back at Y
X is so happy to be back in Y|so many years of X and Y|X found Y and stayed|Y got lucky with X|X ❤️ Y
"""
PAIRS_CLEAR = {
    ("PER", "ORG"): "X just signed for Y|X plays for Y now|X leaves Y after 9 years|Y gave X a new contract|X joins Y",
    ("PER", "LOC"): "X moved to Y|X bought a house in Y|X lives in Y now|born in Y , X never left|X calls Y home",
    ("ORG", "LOC"): "X opened a branch in Y|X has its office in Y|the head office of X is in Y|Y is where X began",
    ("PER", "PER"): "X and Y are best friends|X married Y|X hugging Y|X had dinner with Y|X trained with Y for years",
    ("MISC", "LOC"): "X comes to Y in june|X takes place in Y|X hits Y on friday|X opens in Y|Y hosts X this year",
}
PAIRS_NONE = """
X is on the radio while we drive past Y|not X but Y|read about X on the way to Y|X has nothing to do with Y|X or Y ?
first X , and next week Y|told my gran about X , she thought i meant Y|nobody mixes up X and Y|a photo of X , taken far from Y
"""


@dataclass(frozen=True)
class Name:
    """A name of the world."""

    text: str
    kind: str
    type: str
    words: tuple[str, ...]
    picture: str


def world() -> list[Name]:
    names = []
    for line in WORLD.strip().splitlines():
        kind, kind_type, words, picture, listed = line.split("|")
        names += [Name(text, kind, kind_type, (kind, *words.split("/")), picture) for text in listed.split(", ")]
    return names


def variants(text: str) -> list[str]:
    return text.strip("\n").replace("\n", "|").split("|")


class Writer:
    """Posts with labels and knowledge; some names come again in labelled posts, some in unlabelled ones, some never."""

    def __init__(self, seed: int):
        self.chance = random.Random(seed)
        self.names = world()
        rest = [name for name in self.names if name.text not in FEATURED]
        self.chance.shuffle(rest)
        featured = [name for name in self.names if name.text in FEATURED]
        self.roles = {"labelled": rest[:-50], "unlabelled": featured + rest[-50:], "invented": []}
        self.used: list[set[str]] = []

    def name(self, split: str, wanted: str | None = None) -> Name:
        """A name of a type, by default of any."""
        kind = wanted or self.chance.choices(tuple(TYPE_WORDS), (4, 3, 3, 3))[0]
        shares = {"labelled": (2, 0, 3), "unlabelled": (1, 9, 0)}.get(split, (3, 12, 5))
        (role,) = self.chance.choices(tuple(self.roles), shares)
        found = [name for name in self.roles[role] if name.type == kind] or [self.invented(kind)]
        return self.chance.choice(found)

    def invented(self, kind: str) -> Name:
        """A name of one post."""
        choice = self.chance.choice
        if kind == "PER" and self.chance.random() < 0.5:
            text = f"{choice(GIVEN)} {choice(FAMILY)}"
        elif self.chance.random() < 0.5:
            text = f"{choice(FIRST)} {choice(LAST)}"
        else:
            text = choice(START) + choice(END)
        return replace(choice([name for name in self.names if name.type == kind]), text=text)

    def post(self, core: str, *names: Name) -> tuple[list[str], list[tuple[int, int]]]:
        """Tokens of a post and where each name stands in them."""
        head, tail = (self.chance.choice(variants(text)) for text in (HEADS, TAILS))
        tokens: list[str] = []
        spans: dict[str, tuple[int, int]] = {}
        for word in f"{head} {core} {tail}".split():
            if word in ("X", "Y") and len(names) > "XY".index(word):
                text = names["XY".index(word)].text
                tokens += ["@"] if text[0] == "@" else []
                spans[word] = (len(tokens), len(tokens) + len(text.split()))
                tokens += text.removeprefix("@").split()
            else:
                tokens.append(word)
        return tokens, [spans[word] for word in "XY"[: len(names)]]

    def fresh(self, tokens: list[str]) -> bool:
        """Whether no earlier post has nearly the same words."""
        words = set(normalise(tokens))
        if any(len(words & other) >= 0.75 * len(words | other) for other in self.used):
            return False
        self.used.append(words)
        return True

    def gloss(self, name: Name) -> str:
        """What a language model may call a name: now and then it is wrong."""
        about = name if self.chance.random() > 0.04 else self.chance.choice(self.names)
        word = self.chance.choice(about.words)
        return word if self.chance.random() < 0.06 else f"{self.chance.choice(TYPE_WORDS[about.type])}/{word}"

    def knowledge(self, tokens: list[str], names: tuple[Name, ...], full: bool) -> dict[str, str]:
        """Caption and explanations: one name of ten is missing, some are cut short, some nouns are no names."""
        chance = self.chance
        caption = names[0].picture if names else "a blurred photo of a street"
        if chance.random() < 0.2:
            caption = chance.choice(("a group of people", "a person with a phone", "a grey sky", "a table"))
        items, said = [], []
        for name in names:
            if chance.random() < 0.1:
                continue
            text = name.text.removeprefix("@")
            text = text.split()[0] if chance.random() < 0.03 else text
            items.append((text, self.gloss(name)))
            said.append(f"{text} is probably a {name.kind}.")
        items += [(word, NOUNS[word]) for word in tokens if word in NOUNS and chance.random() < 0.7]
        if chance.random() < 0.08:
            items.append(chance.choice((("crowd", "people"), ("photo", "picture"), ("sky", "nature"))))
        found = {"cot_noun": " ".join(f"{place}. {word} ({gloss})" for place, (word, gloss) in enumerate(items, 1))}
        if full:
            found["caption"] = caption
            found["cot_sentence"] = " ".join(said) or "The writer speaks of everyday life."
            matches = chance.choice(("The picture fits the text.", f"The picture shows {caption}."))
            found["cot_multimodality"] = matches
        return found

    def mner(self, split: str) -> dict:
        chance = self.chance
        while True:
            draw = chance.random()
            names: tuple[Name, ...] = ()
            if draw < 0.13:
                core = " . ".join(chance.sample(variants(NONE), 2))
            elif draw < 0.38:
                names, core = (self.name(split), self.name(split)), chance.choice(variants(TWO))
            elif draw < 0.75:
                names, core = (self.name(split),), chance.choice(variants(OPEN))
            else:
                names = (self.name(split),)
                core = chance.choice(variants(CLEAR[names[0].type]))
            if len(set(names)) < len(names):
                continue
            tokens, spans = self.post(core, *names)
            if self.fresh(tokens):
                break
        tags = ["O"] * len(tokens)
        for name, (start, end) in zip(names, spans, strict=True):
            tags[start:end] = [f"B-{name.type}"] + [f"I-{name.type}"] * (end - start - 1)
        full = split != "unlabelled"
        return {"tokens": tokens, "ner_tags": tags if full else None, **self.knowledge(tokens, names, full)}

    def mre(self, split: str) -> dict:
        chance = self.chance
        while True:
            related = chance.random() < 0.65
            pairs = list(RELATIONS) if related else list(product(TYPE_WORDS, TYPE_WORDS))
            first, second = chance.choice(pairs)
            names = (self.name(split, first), self.name(split, second))
            if names[0] == names[1]:
                continue
            relation = RELATIONS.get((first, second), "None")
            cores = PAIRS
            if relation != "None" and chance.random() < 0.3:
                cores = PAIRS_CLEAR[first, second]
            elif chance.random() < 0.1:
                cores, relation = PAIRS_NONE, "None"
            tokens, (head, tail) = self.post(chance.choice(variants(cores)), *names)
            if self.fresh(tokens):
                break
        spans = {side: {"start": start, "end": end} for side, (start, end) in (("head", head), ("tail", tail))}
        full = split != "unlabelled"
        ordered = names if head < tail else names[::-1]
        label = relation if full else None
        return {"tokens": tokens, **spans, "relation": label, **self.knowledge(tokens, ordered, full)}


SIZES = {
    "mner": {"train": (("labelled", 220), ("unlabelled", 300)), "validation": (("new", 50),), "test": (("new", 130),)},
    "mre": {"train": (("labelled", 160), ("unlabelled", 160)), "validation": (("new", 40),), "test": (("new", 100),)},
}


def rows(seed: int = 3) -> Iterator[tuple[str, str, list[dict]]]:
    """Task, split and rows of every file."""
    writer = Writer(seed)
    for task, splits in SIZES.items():
        write = getattr(writer, task)
        for split, parts in splits.items():
            found = [write(part) for part, count in parts for _ in range(count)]
            yield task, split, [{"id": f"{task}-{split}-{place:03}", **row} for place, row in enumerate(found)]


def main() -> None:
    for task, split, found in rows():
        lines = (json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in found)
        (Path(sys.argv[1]) / f"{task}.{split}.jsonl").write_text("".join(lines), "utf-8")


if __name__ == "__main__":
    main()
