"""What a training split shows about names and words; it guards rewrites against entities without a label."""

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence

from modeling_cotpd.augmentation.candidate import Rejected
from modeling_cotpd.augmentation.names import SHORT, candidate_names, fold, occurrences
from modeling_cotpd.augmentation.sample import Mention, Sample

_SENTENCE_ENDS = ("", ".", "!", "?", ":", "…", "...", '"', "“")
NAME_SHARE = 0.8
"""A string is a name when at least this share of its occurrences is labelled, so that "May" is none."""


class Lexicon:
    """Names and lower-case words of a training split.

    Args:
        samples (`Iterable[Sample]`): The training posts.
    """

    def __init__(self, samples: Iterable[Sample]):
        samples = list(samples)
        labelled = Counter(sample.key(mention) for sample in samples for mention in sample.mentions)
        every: Counter = Counter()
        self.words: set[str] = set()
        for sample in samples:
            every.update(key for _, _, key in candidate_names(sample.tokens) if key in labelled)
            self.words.update(token for token in sample.tokens if token.islower())
        self.names = {
            key for key, count in labelled.items() if len(key) > SHORT and count >= NAME_SHARE * every[key] > 0
        }

    def check(self, sample: Sample, tokens: Sequence[str], mentions: Sequence[Mention]) -> None:
        """Refuse a rewrite that seems to name more than the labels say.

        Signs of it are a name of the training split or a handle that the post does not have, and a capitalized word
        that the post does not have, right beside a mention to which it may belong (`Mira` become `Mira Holt`), or
        within a sentence when the training split does not know it in lower case.

        Raises:
            Rejected: There is such a sign.
        """
        own = {key for _, _, key in candidate_names(sample.tokens)}
        inside = [False] * len(tokens)
        for mention in mentions:
            inside[mention.start : mention.end] = [True] * (mention.end - mention.start)
        new = {key for _, _, key in candidate_names(tokens)} & self.names - own
        for start, end in itertools.chain.from_iterable(occurrences(tokens, new).values()):
            if not any(inside[start:end]):
                raise Rejected("new mention", " ".join(tokens[start:end]))
        words = {fold(token) for token in sample.tokens}
        shouted = "".join(tokens).isupper()
        starts, ends = {mention.start for mention in mentions}, {mention.end for mention in mentions}
        for place, token in enumerate(tokens):
            before = tokens[place - 1] if place else ""
            if inside[place] or fold(token) in words:
                continue
            if (before == "@" or token[0] == "@") and fold(token):
                raise Rejected("new mention", f"@{token.removeprefix('@')}")
            if shouted or before == "#" or not token[0].isupper():
                continue
            # "Congrats Mira Holt": a capital is innocent on a word that is known in lower case, but not behind a name.
            known = token.lower() in self.words
            if place in ends or (place + 1 in starts and not known):
                raise Rejected("mention may be longer", token)
            if not known and before not in _SENTENCE_ENDS:
                raise Rejected("new name", token)
