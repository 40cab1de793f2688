"""What a training split shows about names and words; it guards rewrites against entities that nobody labelled."""

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence

from modeling_cotpd.augmentation.name import SHORT, fold, occurrences, shapes
from modeling_cotpd.augmentation.outcome import Rejected
from modeling_cotpd.augmentation.sample import Mention, Sample

NAME_SHARE = 0.8
"""A string is a name when at least this share of its occurrences is labelled; ours, so that "May" is none."""


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
            every.update(key for _, _, key in shapes(sample.tokens) if key in labelled)
            self.words.update(token for token in sample.tokens if token.islower())
        self.names = {
            key for key, count in labelled.items() if len(key) > SHORT and count >= NAME_SHARE * every[key] > 0
        }

    def check(self, sample: Sample, tokens: Sequence[str], mentions: Sequence[Mention]) -> None:
        """Refuse a rewrite that seems to name more than the labels say.

        Two signs of it: a name of the training split that the post does not have, and a capitalized word that the
        post does not have right beside a mention, which may belong to it (`Mira` become `Mira Holt`).

        Raises:
            Rejected: There is such a sign.
        """
        own = {key for _, _, key in shapes(sample.tokens)}
        inside = [False] * len(tokens)
        for mention in mentions:
            inside[mention.start : mention.end] = [True] * (mention.end - mention.start)
        new = {key for _, _, key in shapes(tokens)} & self.names - own
        for start, end in itertools.chain.from_iterable(occurrences(tokens, new).values()):
            if not any(inside[start:end]):
                raise Rejected("new mention", " ".join(tokens[start:end]))
        words = {fold(token) for token in sample.tokens}
        shouted = "".join(tokens).isupper()
        for mention in mentions:
            for place, before in ((mention.start - 1, True), (mention.end, False)):
                token = tokens[place] if 0 <= place < len(tokens) else ""
                if not token[:1].isupper() or inside[place] or fold(token) in words or shouted:
                    continue
                # "Congrats Mira Holt": before a name, a capital is innocent on a word that is known in lower case.
                if not (before and token.lower() in self.words):
                    raise Rejected("mention may be longer", " ".join((token, *_span(tokens, mention))))


def _span(tokens: Sequence[str], mention: Mention) -> Sequence[str]:
    return tokens[mention.start : mention.end]
