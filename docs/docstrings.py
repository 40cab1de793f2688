"""Lets the reference read this project's docstrings, which are written as those of transformers are."""

import re

from griffe import Extension, Object

ARGUMENT = re.compile(r"^(?P<name>[ ]+[\w, ()`*]+?) \((?P<kind>`.*?)\):(?=\s)", re.M)


class HuggingFaceDocstrings(Extension):
    """Turns `` name (`int`, *optional*): `` into what griffe reads, and `Example:` into its `Examples:`."""

    def on_object(self, *, obj: Object, **context: object) -> None:
        if obj.docstring is not None:
            text = ARGUMENT.sub(_argument, obj.docstring.value)
            obj.docstring.value = re.sub(r"^Example:\n(?=[ ]+>>>)", "Examples:\n", text, flags=re.M)


def _argument(match: re.Match) -> str:
    return f"{match['name']} ({re.sub('[`*]', '', match['kind'])}):"
