"""Triples as RDF in N-Triples, with the vocabularies of NIF 2.0 for offsets and ITS-RDF for confidence."""

import re
from collections.abc import Iterator
from urllib.parse import quote

from modeling_cotpd.errors import SettingError
from modeling_cotpd.markers_cotpd import readable

BASE = "urn:cotpd:"
"""Ours: names posts, types and relations where the user has no namespace; such IRIs lead nowhere."""
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
NIF = "http://persistence.uni-leipzig.org/nlp2rdf/ontologies/nif-core#"
ITS = "http://www.w3.org/2005/11/its/rdf#"
XSD = "http://www.w3.org/2001/XMLSchema#"
_IRI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\x00-\x20<>\"{}|^`\\]*")
# Quotation mark and reverse solidus must be escaped, line breaks too; the other characters here are allowed, but
# break tools that read line by line or look at the file in a terminal
_ESCAPED = re.compile('[\\x00-\\x1f"\\\\\\x7f-\\x9f\\u2028\\u2029\\ufffe\\uffff]')
_SHORT = {"\t": "\\t", "\b": "\\b", "\n": "\\n", "\r": "\\r", "\f": "\\f", '"': '\\"', "\\": "\\\\"}


class RdfWriter:
    """Turns posts into N-Triples lines.

    A post is a `nif:Context` with its text. An entity is a `nif:Phrase` with offsets, words, type and confidence; its
    IRI ends in `#char=START,END` (RFC 5147). A relation is the triple (head, relation, tail), and a `rdf:Statement`
    with its confidence. Two mentions of one name are two subjects: nothing is linked across mentions.

    Args:
        base (`str`, *optional*, defaults to `"urn:cotpd:"`): What every IRI begins with: `BASEpost/ID`,
            `BASEtype/PER`, `BASErelation/NAME`.

    Raises:
        SettingError: The base is no absolute IRI.

    Example:
        >>> lines = RdfWriter()({"id": "7", "text": "hi", "entities": [], "relations": []})
        >>> list(lines)[1]
        '<urn:cotpd:post/7> <http://persistence.uni-leipzig.org/nlp2rdf/ontologies/nif-core#isString> "hi" .\\n'
    """

    def __init__(self, base: str = BASE):
        if not _IRI.fullmatch(base) or not base.isascii():
            raise SettingError(f"{base!r} is no absolute IRI.", fix="It looks like https://example.org/posts/")
        self.base = base
        self.statements = 0

    def __call__(self, row: dict) -> Iterator[str]:
        """Lines of one post.

        Args:
            row (`dict`): `id`, `text`, `entities` and `relations`, as `TripleExtractor` gives them.
        """
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
    """A string literal of N-Triples; lone surrogates, which RDF cannot hold, become U+FFFD, so that offsets stay.

    Example:
        >>> print(literal('say "hi"\\n'))
        "say \\"hi\\"\\n"
    """
    return '"' + _ESCAPED.sub(_escape, readable(text)) + '"'


def _escape(match: re.Match) -> str:
    character = match.group()
    return _SHORT.get(character) or f"\\u{ord(character):04X}"


def _part(name: str, safe: str = "") -> str:
    """A name as a part of an IRI, percent-encoded."""
    return quote(readable(name), safe=safe)


def _line(subject: str, predicate: str, value: str) -> str:
    return f"<{subject}> <{predicate}> {value} .\n"
