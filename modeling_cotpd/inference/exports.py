"""Predictions in JSON Lines written again as CoNLL or as RDF, one post in memory at a time.

CoNLL has a token, a tab and its tag per line, which `cotpd predict` and `cotpd prepare` read back. RDF is N-Triples,
with the vocabularies of NIF 2.0 for offsets and of ITS-RDF for confidence.
"""

import json
import os
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote

from modeling_cotpd.data.conll import IMAGE_HEADER
from modeling_cotpd.errors import SettingError
from modeling_cotpd.files import atomic_write
from modeling_cotpd.markers_cotpd import readable

FORMATS = {".conll": "conll", ".nt": "ntriples"}
"""File name suffixes and the format that each means: CoNLL, N-Triples."""
HEADERS = (IMAGE_HEADER, "-DOCSTART-")
"""What a reader would take for the head of a post; a token that begins so is cut behind its first character."""
BASE = "urn:cotpd:"
"""Names posts, types and relations where the user gives no namespace; such IRIs cannot be looked up."""
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
NIF = "http://persistence.uni-leipzig.org/nlp2rdf/ontologies/nif-core#"
ITS = "http://www.w3.org/2005/11/its/rdf#"
XSD = "http://www.w3.org/2001/XMLSchema#"
_IRI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\x00-\x20<>\"{}|^`\\]*")
# Quotation mark and reverse solidus must be escaped, line breaks too; the other characters here are allowed, but
# break tools that read line by line or look at the file in a terminal
_ESCAPED = re.compile('[\\x00-\\x1f"\\\\\\x7f-\\x9f\\u2028\\u2029\\ufffe\\uffff]')
_SHORT = {"\t": "\\t", "\b": "\\b", "\n": "\\n", "\r": "\\r", "\f": "\\f", '"': '\\"', "\\": "\\\\"}


def export_format(path: str | os.PathLike) -> str:
    """The format that a file's name means."""
    suffix = Path(path).suffix
    if suffix not in FORMATS:
        known = ", ".join(f"{ending} ({name})" for ending, name in FORMATS.items())
        raise SettingError(f"The suffix {suffix!r} means no format.", place=str(path), fix=f"Use {known}.")
    return FORMATS[suffix]


def export(predictions: str | os.PathLike, out: str | os.PathLike, base: str = BASE) -> int:
    """Write predictions in another format; the file appears complete or not at all.

    Args:
        predictions (`str` or `os.PathLike`): What `cotpd triples`, or `cotpd predict` for entities, wrote.
        out (`str` or `os.PathLike`): `.conll` or `.nt` (N-Triples). It is replaced if it exists.
        base (`str`, *optional*, defaults to `"urn:cotpd:"`): What IRIs begin with.

    Returns:
        How many posts were written.

    Raises:
        SettingError: The suffix means no format, or `base` is no IRI.
    """
    out, form = Path(out), export_format(out)
    rdf = RdfWriter(base)
    count = 0
    with open(predictions, "rb") as lines, atomic_write(out) as file:
        for line in lines:
            row = json.loads(line)
            file.writelines([conll_post(row)] if form == "conll" else rdf(row))
            count += 1
    return count


def conll_post(row: dict) -> str:
    """One post as lines, an empty one behind it.

    Tokens are what stands between white space, cut where an entity begins or ends inside; so every tag holds exactly.
    Tags are IOB2. A lone surrogate, which UTF-8 cannot hold, becomes U+FFFD.

    Example:
        >>> entities = [{"start": 1, "end": 5, "type": "PER"}]
        >>> print(conll_post({"id": "7", "text": "@Maya sings", "entities": entities}).replace("\\t", " "), end="")
        # id = 7
        @ O
        Maya B-PER
        sings O
        <BLANKLINE>
    """
    text = readable(row["text"])
    cuts = {0, len(text)} | {bound for entity in row["entities"] for bound in (entity["start"], entity["end"])}
    lines = ["# id = " + " ".join(readable(row["id"]).split())]
    borders = sorted(cuts)
    for begin, end in pairwise(borders):
        entity = next((entity for entity in row["entities"] if entity["start"] <= begin < entity["end"]), None)
        for match in re.finditer(r"\S+", text[begin:end]):
            token, place = match.group(), begin + match.start()
            if token.startswith(HEADERS):
                lines.append(f"{token[:1]}\t{_tag(text, entity, place)}")
                token, place = token[1:], place + 1
            lines.append(f"{token}\t{_tag(text, entity, place)}")
    return "\n".join(lines) + "\n\n"


def _tag(text: str, entity: dict | None, place: int) -> str:
    """The tag of a token that begins at a place, in an entity or in none."""
    if entity is None:
        return "O"
    return f"{'I' if text[entity['start'] : place].strip() else 'B'}-{entity['type']}"


class RdfWriter:
    """Turns posts into N-Triples lines.

    A post is a `nif:Context` with its text. An entity is a `nif:Phrase` with offsets, words, type and confidence; its
    IRI ends in `#char=START,END` (RFC 5147). A relation is the triple (head, relation, tail), and a `rdf:Statement`
    with its confidence. Two mentions of one name are two subjects: nothing is linked across mentions. Every IRI begins
    with `base`: `BASEpost/ID`, `BASEtype/PER`, `BASErelation/NAME`.
    """

    def __init__(self, base: str = BASE):
        if not _IRI.fullmatch(base) or not base.isascii():
            raise SettingError(f"{base!r} is no absolute IRI.", fix="It looks like https://example.org/posts/")
        self.base = base
        self.statements = 0

    def __call__(self, row: dict) -> Iterator[str]:
        """Lines of one post."""
        post = f"{self.base}post/{_part(row['id'])}"
        yield _line(post, f"{RDF}type", f"<{NIF}Context>")
        yield _line(post, f"{NIF}isString", literal(row["text"]))
        mentions = [f"{post}#char={entity['start']},{entity['end']}" for entity in row["entities"]]
        for mention, entity in zip(mentions, row["entities"], strict=True):
            yield _line(mention, f"{RDF}type", f"<{NIF}Phrase>")
            yield _line(mention, f"{NIF}referenceContext", f"<{post}>")
            yield _line(mention, f"{NIF}beginIndex", f'"{entity["start"]}"^^<{XSD}nonNegativeInteger>')
            yield _line(mention, f"{NIF}endIndex", f'"{entity["end"]}"^^<{XSD}nonNegativeInteger>')
            yield _line(mention, f"{NIF}anchorOf", literal(entity["text"]))
            yield _line(mention, f"{ITS}taClassRef", f"<{self.base}type/{_part(entity['type'])}>")
            yield _line(mention, f"{ITS}taConfidence", f'"{entity["score"]}"^^<{XSD}double>')
        for relation in row.get("relations", ()):
            head, tail = mentions[relation["head"]], mentions[relation["tail"]]
            name = f"{self.base}relation/{_part(relation['relation'].lstrip('/'), safe='/')}"
            yield _line(head, name, f"<{tail}>")
            statement = f"_:s{self.statements}"
            self.statements += 1
            yield f"{statement} <{RDF}type> <{RDF}Statement> .\n"
            for part, value in (("subject", head), ("predicate", name), ("object", tail)):
                yield f"{statement} <{RDF}{part}> <{value}> .\n"
            yield f'{statement} <{ITS}taConfidence> "{relation["score"]}"^^<{XSD}double> .\n'


def literal(text: str) -> str:
    """A string literal of N-Triples; lone surrogates, which RDF cannot hold, become U+FFFD, so that offsets stay."""
    return '"' + _ESCAPED.sub(_escape, readable(text)) + '"'


def _escape(match: re.Match) -> str:
    character = match.group()
    return _SHORT.get(character) or f"\\u{ord(character):04X}"


def _part(name: str, safe: str = "") -> str:
    """A name as a part of an IRI, percent-encoded."""
    return quote(readable(name), safe=safe)


def _line(subject: str, predicate: str, value: str) -> str:
    return f"<{subject}> <{predicate}> {value} .\n"
