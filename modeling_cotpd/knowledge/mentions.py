"""Where a text that a teacher names stands among a post's tokens."""

from collections.abc import Sequence


def find_mention(tokens: Sequence[str], mention: str, taken: Sequence[bool]) -> tuple[int, int] | None:
    """The first span of whole tokens that reads like `mention` and is not taken.

    White space does not count, since teachers write "#Herons" for the tokens "#" and "Herons"; upper and lower case
    only when nothing fits exactly.

    Args:
        tokens (`Sequence[str]`): The post's tokens.
        mention (`str`): As the teacher wrote it.
        taken (`Sequence[bool]`): Tokens that belong to an earlier mention.

    Returns:
        Start and end (excluded), or `None`.

    Example:
        >>> find_mention(["so", "proud", "of", "#", "Herons"], "#herons", [False] * 5)
        (3, 5)
    """
    for fold in (str, str.casefold):
        wanted = "".join(fold(mention).split())
        pieces = ["".join(fold(token).split()) for token in tokens]
        for start in range(len(pieces)):
            read = ""
            for end in range(start, len(pieces)):
                read += pieces[end]
                if taken[end] or not wanted.startswith(read):
                    break
                if read == wanted and wanted:
                    return start, end + 1
    return None
