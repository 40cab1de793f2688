"""How a benchmark tokenizes posts, found from its tokens, and texts tokenized in the same way."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from modeling_cotpd.augmentation.sample import SIGNS

_CLITICS = ("s", "m", "re", "ve", "ll", "d", "t")
_CLITIC_TOKENS = {"n't", "n’t", *(f"{mark}{end}" for mark in "'’" for end in _CLITICS)}
_CLOSING, _OPENING = set(".,!?;:…)]}%”"), set("([{$“#@")
_URL = r"https?://\S+|www\.\S+"
_NUMBER = r"\d+(?:[.,:]\d+)+"
_MARKS = {"\ufe0f", "\ufe0e", "\u20e3"}
"""Characters that Unicode calls marks and that belong to emoji, not to words."""


@dataclass(frozen=True)
class Tokenization:
    """What the published benchmarks do differently. All keep web addresses and numbers such as 10,000 whole, and all
    cut other punctuation off the words.

    Args:
        apart (`frozenset[str]`): Those of `#` and `@` that are tokens of their own (`# Otters`, not `#Otters`).
        hyphens_apart (`bool`): Whether `-` within a word is a token of its own (`X - Ray`).
        clitics (`bool`): Whether `'s` and `n't` are tokens; else the apostrophe stands alone (`Mira ' s`).
        ellipsis_whole (`bool`): Whether `...` is one token.
    """

    apart: frozenset[str] = frozenset(SIGNS)
    hyphens_apart: bool = True
    clitics: bool = False
    ellipsis_whole: bool = False


def find_tokenization(posts: Iterable[Sequence[str]]) -> Tokenization:
    """The style of tokenized posts, by what occurs more often; where nothing occurs, that of Twitter-2017.

    Example:
        >>> find_tokenization([["@mira", "loves", "#", "Otters"]]).apart == {"#"}
        True
    """
    seen: Counter = Counter()
    for tokens in posts:
        for index, token in enumerate(tokens):
            if token in SIGNS:
                seen["apart", token] += 1
            elif token[0] in SIGNS:
                seen["glued", token[0]] += 1
            elif token in _CLITIC_TOKENS:
                seen["clitic"] += 1
            elif set(token) == {"."}:
                seen["dots" if len(token) > 1 else "dot dot"] += len(token) > 1 or tokens[index - 1 : index] == ["."]
            elif "-" in token[1:-1]:
                seen["inner hyphen"] += 1
            elif token == "-":
                seen["hyphen"] += 1
            elif token in ("'", "’") and "".join(tokens[index + 1 : index + 2]).lower() in _CLITICS:
                seen["apostrophe"] += 1
    return Tokenization(
        apart=frozenset(sign for sign in SIGNS if seen["apart", sign] >= seen["glued", sign]),
        hyphens_apart=seen["hyphen"] >= seen["inner hyphen"],
        clitics=seen["clitic"] > seen["apostrophe"],
        ellipsis_whole=seen["dots"] > seen["dot dot"],
    )


def tokenize(text: str, style: Tokenization) -> list[str]:
    """Cut a text into tokens.

    Example:
        >>> tokenize("Mira's #OttersWin, 2-0!", Tokenization())
        ['Mira', "'", 's', '#', 'OttersWin', ',', '2', '-', '0', '!']
        >>> tokenize("Mira's #OttersWin, 2-0!", Tokenization(frozenset(), hyphens_apart=False, clitics=True))
        ['Mira', "'s", '#OttersWin', ',', '2-0', '!']
    """
    # Python's \w leaves out the vowel signs of Indic scripts and other marks within words; "a" stands in for them.
    shape = "".join("a" if unicodedata.category(c)[0] == "M" and c not in _MARKS else c for c in text)
    return [text[match.start() : match.end()] for match in _pattern(style).finditer(shape)]


def _pattern(style: Tokenization) -> re.Pattern[str]:
    glued = "".join(sign for sign in SIGNS if sign not in style.apart)
    word = r"\w+" if style.hyphens_apart else r"\w+(?:-\w+)*"
    parts = [_URL, rf"[{glued}]\w+"] if glued else [_URL]
    parts.append(_NUMBER)
    if style.clitics:
        parts += [r"n['’]t\b", rf"(?<=\w)['’](?:{'|'.join(_CLITICS)})\b", r"\w+?(?=n['’]t\b)"]
    if style.ellipsis_whole:
        parts.append(r"\.{2,}")
    return re.compile("|".join([*parts, word, r"\S"]), re.IGNORECASE)


def detokenize(tokens: Sequence[str]) -> str:
    """A post as people write it, for the teacher to read: only spaces are left out, no character changes.

    Example:
        >>> detokenize(["RT", "@", "mira", ":", "Otters", "'", "s", "day", "!"])
        "RT @mira: Otters's day!"
    """
    text, glue = "", True
    for index, token in enumerate(tokens):
        before = tokens[index - 1] if index else ""
        after = tokens[index + 1] if index + 1 < len(tokens) else ""
        inner = token in ("'", "’") and before[-1:].isalnum() and after.lower() in _CLITICS
        closes = token[0] in _CLOSING or token.lower() in _CLITIC_TOKENS
        text += token if glue or closes or inner else f" {token}"
        glue = inner or (token in _OPENING and after not in ("", *_OPENING))
    return text
