"""Prompts: versioned text files, the paper's wording as default, each replaceable by a file of the same name."""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from modeling_cotpd.errors import KnowledgeError

PROMPT_FOLDER = Path(__file__).parent / "prompts"
POST_FIELDS = {"text", "caption"}
_FIELD = re.compile(r"\{([a-z_]+)\}")
_FRONT_MATTER = re.compile(r"---\n(.*?)\n---\n(.*)", re.DOTALL)


@dataclass(frozen=True)
class Prompt:
    """One prompt: its file's name without the ending, its version, and its wording with fields such as `{text}`."""

    name: str
    version: str
    text: str

    @property
    def tag(self) -> str:
        """Name, version and hash of the wording, since one is easily edited without a new version; part of the key."""
        return f"{self.name}@{self.version}#{hashlib.sha256(self.text.encode()).hexdigest()[:12]}"

    @property
    def fields(self) -> set[str]:
        return set(_FIELD.findall(self.text))

    def fill(self, **values: str) -> str:
        """The wording with its fields filled in; a line whose only field is empty is left out.

        So a post without a caption has no line `Image:`. What is filled in is never searched for fields again.

        Example:
            >>> Prompt("post", "1", "Text: {text}\\nImage: {caption}").fill(text="Rain over {Lund}", caption="")
            'Text: Rain over {Lund}'
        """
        self.check_fields(set(values), f"prompt {self.name}")
        lines = []
        for line in self.text.split("\n"):
            names = _FIELD.findall(line)
            if not names or any(values[name] for name in names):
                lines.append(_FIELD.sub(lambda match: values[match.group(1)], line))
        return "\n".join(lines)

    def check_fields(self, known: set[str], place: str) -> None:
        """Raise a `KnowledgeError` when the wording has a field that nothing fills in."""
        if unknown := sorted(self.fields - known):
            fix = f"Its fields may be {', '.join(f'{{{name}}}' for name in sorted(known))}."
            raise KnowledgeError(f"The prompt has the unknown field {{{unknown[0]}}}.", place=place, fix=fix)


def opening(prompts: dict[str, Prompt], prompt: Prompt, text: str, caption: str = "") -> list[dict]:
    """Return the messages that show a post and ask about it; a prompt with the field `text` shows the post itself."""
    fields = {"text": text, "caption": caption}
    question = prompt.fill(**fields)
    if "text" not in prompt.fields:
        question = f"{prompts['post'].fill(**fields)}\n\n{question}"
    system = prompts.get("system")
    messages = [{"role": "system", "content": system.fill(**fields)}] if system is not None else []
    return [*messages, {"role": "user", "content": question}]


def read_prompt(path: Path) -> Prompt:
    """Read one prompt file: `---`, a line `version: V`, `---`, then the wording. Raises `KnowledgeError`."""
    fix = "A prompt file begins with the three lines '---', 'version: 1' and '---'; the wording follows."
    try:
        content = path.read_text("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise KnowledgeError("The prompt is not UTF-8 text.", place=f"{path}, byte {error.start}") from None
    match = _FRONT_MATTER.fullmatch(content)
    version = re.fullmatch(r"\s*version\s*:[ \t]*(\S[^\n]*?)\s*", match.group(1)) if match else None
    if match is None or version is None:
        line = 2 if match else 1
        raise KnowledgeError("The prompt does not say its version.", place=f"{path}, line {line}", fix=fix)
    text = match.group(2).strip()
    if not text:
        raise KnowledgeError("The prompt has no wording.", place=str(path), fix=fix)
    return Prompt(path.stem, version.group(1), text)


def load_prompts(folder: str | os.PathLike | None = None) -> dict[str, Prompt]:
    """All packaged prompts, those in `folder` in place of the packaged ones of the same name.

    Args:
        folder: A folder of `NAME.txt` files; other files in it are ignored. `system.txt` has no packaged
            counterpart: when given, it opens every conversation as a system message.

    Raises:
        KnowledgeError: The folder or a prompt in it cannot be read, a name is unknown, or a prompt has a field that
            nothing fills in.
    """
    packaged = {path.stem: read_prompt(path) for path in sorted(PROMPT_FOLDER.glob("*.txt"))}
    fields = {**{name: prompt.fields for name, prompt in packaged.items()}, "system": set()}
    if folder is not None and not Path(folder).is_dir():
        raise KnowledgeError("There is no such folder of prompts.", place=str(folder))
    own = {}
    for path in sorted(Path(folder).glob("*.txt")) if folder is not None else ():
        if path.stem not in fields:
            raise KnowledgeError(
                "No prompt has this name.", place=str(path), fix=f"The names are {', '.join(fields)}."
            )
        own[path.stem] = read_prompt(path)
        own[path.stem].check_fields(POST_FIELDS | fields[path.stem], str(path))
    return packaged | own
