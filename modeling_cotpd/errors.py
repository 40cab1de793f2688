"""The exceptions that a user of this package is meant to read."""

import difflib
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager


class CoTPDError(ValueError):
    """Bad input: one sentence, its place, and a fix.

    Args:
        message (`str`): What is wrong, in one sentence.
        place (`str`, *optional*): Where: a file and line, a column, a row id, a field.
        fix (`str`, *optional*): What to do about it, best as the call or line that would have worked.

    The command line prints such an error without a traceback and exits with code 2.
    """

    def __init__(self, message: str, *, place: str | None = None, fix: str | None = None):
        self.message, self.place, self.fix = message, place, fix
        text = f"{place}: {message}" if place else message
        super().__init__(f"{text} {fix}" if fix else text)


class DataError(CoTPDError):
    """A file, row, column or label set that cannot be used as it is."""


class SettingError(CoTPDError):
    """A setting out of range, misspelt, or in conflict with another."""


class KnowledgeError(CoTPDError):
    """Knowledge that cannot be elicited, stored, read back or joined."""


class Interrupted(Exception):
    """Ctrl-C in a command that keeps finished work: the message says what is kept and how to go on.

    The command line prints it in one line and exits with code 130.
    """


@contextmanager
def interruptible(kept: Callable[[], str]) -> Iterator[None]:
    """Within the block, turn Ctrl-C into an `Interrupted`.

    Args:
        kept (`Callable`): Called after Ctrl-C; returns what is kept and how to go on.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(kept()) from None


def check_choice(value: str, known: Iterable[str], place: str) -> None:
    """Raise a `SettingError` unless a setting has one of its `known` values."""
    if value not in (known := tuple(known)):
        raise SettingError(f"{value!r} is unknown.", place=place, fix=f"Use {', '.join(known)}.")


def check_at_least(value: float, least: float, place: str) -> None:
    """Raise a `SettingError` unless a setting is a finite number of at least `least`."""
    if not least <= value < math.inf:
        raise SettingError(f"It must be at least {least}, got {value}.", place=place)


def one_line(error: BaseException, most: int = 200) -> str:
    """What an error of a library says, in one line of at most `most` characters."""
    return " ".join(str(error).split())[:most]


@contextmanager
def as_setting_error(place: str | None = None) -> Iterator[None]:
    """Within the block, turn what a library says of settings that it cannot use into a `SettingError` of one line.

    Args:
        place (`str`, *optional*): The setting.

    Example:
        >>> with as_setting_error("lora_r"):
        ...     raise ValueError("`r` should be a positive\ninteger.")
        Traceback (most recent call last):
        ...
        modeling_cotpd.errors.SettingError: lora_r: `r` should be a positive integer.
    """
    try:
        yield
    except CoTPDError:
        raise
    except (ValueError, ImportError, RuntimeError) as error:
        raise SettingError(one_line(error, 400), place=place) from error


def did_you_mean(name: str, known: Iterable[str], otherwise: str) -> str:
    """The fix for a misspelt name: the nearest known one, or `otherwise` where none is near.

    Example:
        >>> did_you_mean("seedz", ["seeds", "rows"], "The keys are seeds, rows.")
        "Did you mean 'seeds'?"
    """
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"Did you mean {near[0]!r}?" if near else otherwise
