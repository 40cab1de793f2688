"""Fills in the command line's reference when the site is built, from the commands themselves."""

import re

MARKER = "<!-- every command -->"


def on_page_markdown(markdown: str, **context: object) -> str:
    """Replace the marker by the help of every command."""
    return markdown.replace(MARKER, command_reference()) if MARKER in markdown else markdown


def command_reference() -> str:
    """Usage, arguments and options of every command, as Markdown."""
    import typer

    from modeling_cotpd.cli.main import app

    return "\n".join(_pages(typer.main.get_command(app), "cotpd"))


def _pages(command, path: str):
    yield f"## {path}\n"
    yield from re.sub(r"(?:^    .+\n*)+", _block, (command.help or "") + "\n", flags=re.M).splitlines()
    options = [parameter for parameter in command.params if parameter.name not in ("help", "install_completion")]
    if options:
        yield "\n| option | default | |\n|---|---|---|"
    for parameter in options:
        flags = ", ".join(f"`{flag}`" for flag in parameter.opts) if parameter.param_type_name == "option" else ""
        name = flags or f"`{(parameter.name or '').upper()}`"
        default = "required" if parameter.required else _shown(parameter.default)
        yield f"| {name} | {default} | {_cell(parameter.help or '')} |"
    yield ""
    for name, below in getattr(command, "commands", {}).items():
        yield from _pages(below, f"{path} {name}")


def _block(match: re.Match) -> str:
    lines = "\n".join(line.strip() for line in match[0].splitlines() if line.strip())
    return f"```bash\n{lines}\n```\n"


def _shown(default: object) -> str:
    return "" if default in (None, False, "", []) or callable(default) else f"`{default}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
