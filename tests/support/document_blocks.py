"""The fenced blocks of the documents, and the commands in them."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CONTROL = ("for ", "do", "done", "export ")


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    document: str
    language: str
    text: str


def blocks(path: Path) -> list[Block]:
    """The blocks of a document, in their order."""
    name = path.relative_to(ROOT).as_posix()
    return [Block(name, language, text) for language, text in FENCE.findall(path.read_text("utf-8"))]


def commands(block: Block) -> list[str]:
    """The commands of a bash block, without comments; lines of loops stay out, what they repeat stays in."""
    lines = [line.strip() for line in block.text.replace("\\\n", " ").splitlines()]
    lines = [" ".join(line.split()) for line in lines if line and not line.startswith("#")]
    return [line for line in lines if not line.startswith(CONTROL)]


def words(command: str) -> list[str]:
    """A command's words, without a comment at its end; variables of loops become a number."""
    return [re.sub(r"\$\w+", "1", word) for word in shlex.split(command, comments=True)]


def all_commands() -> list[tuple[str, str]]:
    """Document and command, for every command of every document."""
    found = []
    for path in DOCUMENTS:
        for block in blocks(path):
            if block.language == "bash":
                found += [(block.document, command) for command in commands(block)]
    return found
