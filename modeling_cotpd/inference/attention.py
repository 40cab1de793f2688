"""Where the queries of a conditional prompt look, in words of the post."""

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PromptAttention:
    """How the N queries of a prompt share their attention over the words of a text.

    Args:
        spans (`list[tuple[int, int]]`): Characters of every word, white space apart.
        shares (`list[list[float]]`): N rows, one per query, of one number per word. What is missing from 1 went to
            special tokens and entity markers.
    """

    spans: list[tuple[int, int]]
    shares: list[list[float]]

    @property
    def mean(self) -> list[float]:
        """The mean over the queries, one number per word."""
        return [sum(column) / len(self.shares) for column in zip(*self.shares, strict=True)]


def attention_over_words(
    text: str, attention: np.ndarray, offsets: Sequence[tuple[int, int]]
) -> PromptAttention | None:
    """Add attention over pieces up to words.

    Args:
        text (`str`): The post.
        attention (`np.ndarray` of shape `(N, n)`): Attention over the text's pieces, without special tokens.
        offsets (`Sequence[tuple[int, int]]`): Characters of each of the n pieces.

    Returns:
        `None` for a text that is white space only.

    Example:
        >>> import numpy as np
        >>> attention_over_words("Maya sings", np.array([[0.5, 0.25, 0.125]]), [(0, 4), (5, 9), (9, 10)]).shares
        [[0.5, 0.375]]
    """
    spans = [match.span() for match in re.finditer(r"\S+", text)]
    if not spans:
        return None
    ends = [end for _, end in spans]
    # Some tokenizers count the space before a word to its first piece: the word is the first that ends behind it
    words = [min(bisect_right(ends, start), len(ends) - 1) for start, _ in offsets]
    shares = np.zeros((len(attention), len(spans)))
    for place, word in enumerate(words):
        shares[:, word] += attention[:, place]
    return PromptAttention(spans, shares.round(6).tolist())
