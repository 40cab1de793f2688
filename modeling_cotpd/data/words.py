"""Words of a text: one definition for training, evaluation and every kind of inference.

A social-media post glues names to punctuation ("(Mira Holt)", "@mira's"), while benchmark data separate most of it.
`split_at_words` changes a tokenizer so that both forms give the same subword tokens: text is cut into words before the
tokenizer's own rules apply. The change is saved with the tokenizer, so a stock pipeline reads as training did.
"""

import json
import unicodedata
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import accumulate, pairwise

import regex
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from modeling_cotpd.markers_cotpd import readable

# Runs of scripts that write words without spaces between them
_RUN = r"\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_SPACELESS = rf"[\p{{Han}}{_RUN}]"
_LETTERS = rf"(?!{_SPACELESS})[\p{{L}}\p{{N}}_](?:(?!{_SPACELESS})[\p{{L}}\p{{M}}\p{{N}}_])*"
# English endings that data sets separate: Mira's, they'll, don't
_CLITIC = r"['’](?:s|d|m|t|ll|re|ve|S|D|M|T|LL|RE|VE)(?![\p{L}\p{M}\p{N}_])"
_JOIN = rf"(?!{_CLITIC})['’‐‑&-]|[.,:](?=\p{{N}})(?<=\p{{N}}[.,:])"
# U.S.A. and J.K.
_ABBREVIATION = r"(?<![\p{L}\p{M}\p{N}_])(?:\p{L}\.){2,}"

_OTHER = r"[^\s\p{L}\p{N}]\p{M}*"
WORD = rf"{_ABBREVIATION}|{_LETTERS}(?:(?:{_JOIN}){_LETTERS})*|\p{{Han}}\p{{M}}*|(?:[{_RUN}]\p{{M}}*)+|{_OTHER}"
"""A word, in the syntax that Python's `regex` and the Rust tokenizers share: letters and digits with hyphens and
apostrophes between them, an abbreviation, a Chinese character, a run of kana or Thai, or one other character."""

_WORD = regex.compile(WORD)
_UNIT = regex.compile(rf"{_LETTERS}|{_SPACELESS}\p{{M}}*|\S\p{{M}}*")
_CHARACTER = regex.compile(r"\X")
_ONE_CHARACTER = regex.compile(_SPACELESS)
_PREFIXES = ("#", "@", "＃", "＠")
_HYPHENS = "-‐‑_"
_BLANK = "▁"  # how SentencePiece writes a space


def encode(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]
) -> tuple[list[list[int]], list[list[tuple[int, int]]]]:
    """Subword tokens of texts without special tokens, and the characters of each.

    Characters that spell a special token stay characters. A lone surrogate is read as U+FFFD.
    """
    if not texts:
        return [], []
    encoded = tokenizer(
        [readable(text) for text in texts],
        add_special_tokens=False,
        return_offsets_mapping=True,
        return_attention_mask=False,
        return_token_type_ids=False,
        split_special_tokens=True,
        verbose=False,
    )
    return encoded["input_ids"], encoded["offset_mapping"]


def word_spans(tokens: Sequence[str]) -> list[tuple[int, int]]:
    """Return the character spans of the tokens in the text that they give when joined by single spaces."""
    spans, start = [], 0
    for token in tokens:
        spans.append((start, start + len(token)))
        start += len(token) + 1
    return spans


def word_prefixes(rows: Iterable[Sequence[str]], tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    """Return the marks that tokenized posts write as part of the word behind them, and their (last) subword token.

    Twitter-2015 has the token `#Otters`, Twitter-2017 the tokens `#` and `Otters`; the more frequent form counts.

    Args:
        rows (`Iterable[Sequence[str]]`): The tokens of the posts.
        tokenizer (`PreTrainedTokenizerBase`): Cuts texts at words.

    Example:
        >>> word_prefixes([["#Otters", "win"], ["@", "mira"]], tokenizer)  # doctest: +SKIP
        {'#': 1001}
    """
    glued, apart = Counter[str](), Counter[str]()
    for tokens in rows:
        for token in tokens:
            if token[:1] in _PREFIXES and token[1:2].isalnum():
                glued[token[0]] += 1
            elif token in _PREFIXES:
                apart[token] += 1
    marks = [mark for mark in sorted(glued) if glued[mark] > apart[mark]]
    ids, _ = encode(tokenizer, marks)
    last = {mark: found[-1] for mark, found in zip(marks, ids, strict=True) if found}
    return {mark: token for mark, token in last.items() if token != tokenizer.unk_token_id}


def word_hyphens(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the subword tokens of hyphens and underscores that look the same within a word and between words.

    WordPiece has them; other kinds of tokenizers write a hyphen within a word as a token that continues it.

    Example:
        >>> tokenizer.convert_ids_to_tokens(word_hyphens(tokenizer))  # doctest: +SKIP
        ['-']
    """
    ids, _ = encode(tokenizer, [form for sign in _HYPHENS for form in (sign, f"a{sign}a", f"a {sign} a")])
    forms = zip(ids[::3], ids[1::3], ids[2::3], strict=True)
    same = {alone[0] for alone, within, between in forms if len(alone) == 1 and within == between}
    return sorted(same - {tokenizer.unk_token_id})


def _continues(text: str, place: int, whole: set[int] | None) -> bool:
    """Whether the word at a place of a text belongs to what stands right before it."""
    before, first, after = text[place - 1], text[place], text[place + 1 : place + 2]
    if before in _PREFIXES:
        return first.isalnum()
    if whole is None:
        return False
    if _is_inner(first):
        return after.isalnum() or (after != "" and place + 1 not in whole)
    return place not in whole or (_is_inner(before) and first.isalnum())


def _is_inner(character: str) -> bool:
    """Whether a character may stand within a word: signs of Hebrew and Catalan, and format characters such as a soft
    hyphen, a joiner or a mark of direction; a zero-width space parts words."""
    return character in "·‧׳״" or (unicodedata.category(character) == "Cf" and character != "\u200b")


@lru_cache(maxsize=4096)
def units_of(text: str, prefixes: str = "") -> tuple[tuple[int, int, bool], ...]:
    """Split a text into units: runs of letters and digits, and single other characters.

    Args:
        text (`str`): The text.
        prefixes (`str`, *optional*): Marks, `#` or `@`, that are one unit with the run behind them.

    Returns:
        `tuple[tuple[int, int, bool], ...]`: Per unit its first character, the one after its last, and whether it
        belongs to the same word as the unit before it. An entity that begins in a word ends no earlier than the word.
        Each character of a script without spaces is a unit and a word. A `#` or `@` belongs to the word after it, and
        letters with a soft hyphen or a joiner between them and the parts of an emoji are one word.

    Example:
        >>> text = "@mira (Holt-Ray)"
        >>> [("+" if joined else "") + text[start:end] for start, end, joined in units_of(text)]
        ['@', '+mira', '(', 'Holt', '+-', '+Ray', ')']
    """
    units: list[tuple[int, int, bool]] = []
    # characters of more than one code point: emoji with a joiner or a skin tone, flags
    whole = None if text.isascii() else {character.start() for character in _CHARACTER.finditer(text)}
    for word in _WORD.finditer(text):
        if word.group().isspace():  # Python counts a few control characters that the expression does not
            continue
        joined = bool(units) and units[-1][1] == word.start() and _continues(text, word.start(), whole)
        for unit in _UNIT.finditer(text, word.start(), word.end()):
            alone = _ONE_CHARACTER.match(unit.group()) is not None
            if joined and not alone and text[units[-1][0] : units[-1][1]] in prefixes:
                units[-1] = (units[-1][0], unit.end(), units[-1][2])
                continue
            units.append((unit.start(), unit.end(), joined and not alone))
            joined = not alone
    return tuple(units)


def unit_tokens(
    units: Sequence[tuple[int, int, bool]], offsets: Sequence[tuple[int, int]], text: str
) -> list[tuple[int | None, int]]:
    """Find the subword token that each unit's label is read from: the first one that begins in the unit.

    Args:
        units (`Sequence[tuple[int, int, bool]]`): What `units_of` returns.
        offsets (`Sequence[tuple[int, int]]`): Characters of every subword token, in order; none for special tokens.
        text (`str`): The text.

    Returns:
        `list[tuple[int | None, int]]`: Per unit the index of a subword token, `None` where none begins, and the
        character behind the last token that begins in the unit or before it: a unit before that character continues
        a token.
    """
    starts = [start for start, _, _ in units]
    first: list[int | None] = [None] * len(units)
    reach = [0] * len(units)
    for index, (start, end) in enumerate(offsets):
        while start < end - 1 and text[start].isspace():  # some tokenizers count the space to the word after it
            start += 1
        unit = bisect_right(starts, start) - 1
        if start < end and unit >= 0 and start < units[unit][1]:
            if first[unit] is None:
                first[unit] = index
            reach[unit] = max(reach[unit], end)
    return list(zip(first, accumulate(reach, max), strict=True))


def words_of_tokens(offsets: Sequence[tuple[int, int]], spans: Sequence[tuple[int, int]]) -> list[int]:
    """Return per subword token the index of the first word that its characters touch, -1 for none.

    Args:
        offsets, spans (`Sequence[tuple[int, int]]`): Characters of every subword token and of every word, in order.
    """
    words = []
    word = 0
    for start, end in offsets:
        while word < len(spans) and spans[word][1] <= start:
            word += 1
        words.append(word if word < len(spans) and end > spans[word][0] else -1)
    return words


def begins_word(text: str, offsets: Sequence[tuple[int, int]]) -> list[bool]:
    """Return per subword token whether it is the first one of a word, so that a text may be split before it."""
    units = units_of(text)
    tokens = unit_tokens(units, offsets, text)
    first = {token for (_, _, joined), (token, _) in zip(units, tokens, strict=True) if not joined}
    return [index in first for index in range(len(offsets))]


def split_at_words(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """Make a fast tokenizer cut text into words before its own rules apply; changes and returns it.

    Every word then begins as one after a space does, whatever stands before it: "(Mira Holt)" and "( Mira Holt )" give
    the same subword tokens. A tokenizer that was changed before stays as it is. The class becomes
    `PreTrainedTokenizerFast`.

    Raises:
        ValueError: The tokenizer cannot be changed so.
    """
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    if splits_at_words(tokenizer):
        return tokenizer
    normalizers = [step for step in _steps(state["normalizer"], "normalizers") if not _writes_blanks(step)]
    wrote_blanks = len(normalizers) < len(_steps(state["normalizer"], "normalizers"))
    inner = _steps(state["pre_tokenizer"], "pretokenizers")
    if wrote_blanks and not any(step["type"] == "Metaspace" for step in inner):
        inner.append({"type": "Metaspace", "replacement": _BLANK, "split": False})
    for step in inner:
        if step["type"] == "Metaspace":
            step["prepend_scheme"] = "always"
        elif step["type"] == "ByteLevel":
            step["add_prefix_space"] = True
    state["normalizer"] = {"type": "Sequence", "normalizers": normalizers} if normalizers else None
    state["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [*_WORD_STEPS, *inner]}
    # such a step would take the added space for a space of the text, and cut a character off the word's offsets
    for step in _steps(state["post_processor"], "processors"):
        if "trim_offsets" in step:
            step["trim_offsets"] = False
    # the object behind a tokenizer keeps truncation, padding and added tokens
    changed = Tokenizer.from_str(json.dumps(state))
    backend = tokenizer.backend_tokenizer
    backend.normalizer, backend.pre_tokenizer = changed.normalizer, changed.pre_tokenizer
    backend.post_processor = changed.post_processor
    # the class of a model family would build its own rules again when it is loaded; this one reads the saved ones
    tokenizer.__class__ = PreTrainedTokenizerFast
    glued, apart = (
        tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("(ab ab),\nab", "( ab ab ) , ab")
    )
    if glued != apart:
        raise ValueError(
            f"{type(tokenizer).__name__} reads a word otherwise after punctuation than after a space; "
            "use an encoder with another tokenizer."
        )
    return tokenizer


def splits_at_words(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Return whether `split_at_words` changed this tokenizer."""
    state = json.loads(tokenizer.backend_tokenizer.to_str())["pre_tokenizer"]
    return _steps(state, "pretokenizers")[: len(_WORD_STEPS)] == _WORD_STEPS


def continuing_tokens(tokenizer: PreTrainedTokenizerBase) -> list[bool]:
    """Return per id of the vocabulary whether the subword token continues a word, for `model.read_words`.

    A tokenizer that `split_at_words` did not change gives `False` for all: its tokens do not show where words begin.
    """
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    tokens = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    prefix = state["model"].get("continuing_subword_prefix")
    if not splits_at_words(tokenizer):
        return [False] * len(tokens)
    if prefix:
        return [token.startswith(prefix) and index not in special for index, token in enumerate(tokens)]
    steps = {step["type"] for step in _steps(state["pre_tokenizer"], "pretokenizers")}
    opening = "Ġ" if "ByteLevel" in steps else _BLANK if "Metaspace" in steps else None
    if opening is None:
        return [False] * len(tokens)
    # Unigram models write an unknown character as a blank, which begins the word, and the token for unknown ones
    unknown = tokenizer("\U000f0000", add_special_tokens=False)["input_ids"]
    if len(unknown) > 1 and unknown[0] != tokenizer.unk_token_id:
        special.discard(tokenizer.unk_token_id)
    return [not token.startswith(opening) and index not in special for index, token in enumerate(tokens)]


_WORD_STEPS = [
    {"type": "Split", "pattern": {"Regex": rf"\s|{_BLANK}"}, "behavior": "Removed", "invert": False},
    {"type": "Split", "pattern": {"Regex": WORD}, "behavior": "Isolated", "invert": False},
]


def _steps(step: dict | None, key: str) -> list[dict]:
    if step is None:
        return []
    return [inner for part in step[key] for inner in _steps(part, key)] if step["type"] == "Sequence" else [step]


def _writes_blanks(step: dict) -> bool:
    """Whether a normalizer turns spaces into SentencePiece's blanks."""
    return (step["type"] == "Prepend" and step["prepend"] == _BLANK) or (
        step["type"] == "Replace" and step["content"] == _BLANK
    )


def inside_labels(label_names: Sequence[str]) -> list[int]:
    """Per label id the id of the label that continues it: `I-TYPE` for `B-TYPE`, itself for the others."""
    ids = {name: index for index, name in enumerate(label_names)}
    return [
        ids.get(f"I-{name[2:]}", index) if name.startswith("B-") else index for index, name in enumerate(label_names)
    ]


def token_labels(words: Sequence[int], tags: Sequence[int], label_names: Sequence[str]) -> list[int]:
    """Give every subword token the label of its word: the first one its tag, the others the tag that continues it.

    Args:
        words (`Sequence[int]`): Per subword token its word, -1 for none; such a token has the label -100.
        tags (`Sequence[int]`): Per word its tag id.
        label_names (`Sequence[str]`): Tag names in id order.
    """
    inside = inside_labels(label_names)
    labels = []
    for before, word in pairwise([-1, *words]):
        labels.append(-100 if word < 0 else inside[tags[word]] if word == before else tags[word])
    return labels
