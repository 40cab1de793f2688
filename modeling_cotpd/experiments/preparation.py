"""The data of a sweep: folders that the command line gives, and folders that `cotpd prepare` makes once."""

import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from modeling_cotpd.errors import DataError, SettingError
from modeling_cotpd.experiments.identity import digest, slug
from modeling_cotpd.experiments.sweep import Preparation, Sweep


def check_given(sweep: Sweep, given: Mapping[str, Path]) -> None:
    """Refuse a folder for data that the sweep does not have, and one that is not prepared."""
    for name, folder in given.items():
        if name not in sweep.data:
            raise SettingError(
                f"--data names {name!r}, which the sweep does not read.", fix=f"It reads {', '.join(sweep.data)}."
            )
        if not (folder / "dataset.json").is_file():
            raise DataError("This is not a prepared folder.", place=str(folder), fix="Make it with cotpd prepare.")


def folder_of(preparation: Preparation, given: Mapping[str, Path], root: Path) -> Path | None:
    """Where a preparation is or will be; `None` if the command line has to give it and does not."""
    if preparation.name in given:
        return given[preparation.name]
    if preparation.given:
        return None
    return root / "data" / f"{slug(preparation.name)}-{digest(preparation.declaration())[:8]}"


def prepare_command(preparation: Preparation, folder: Path, source: Path | None) -> list[str]:
    """The `cotpd prepare` command line of a preparation, without the interpreter.

    Raises:
        SettingError: It needs a source folder and none is given.
    """
    command = ["prepare", preparation.prepare, "--out", str(folder)]
    if preparation.source:
        if source is None:
            raise SettingError(
                f"{preparation.name} is made from published files.",
                fix=f"Give their folder with --source DIR (it holds {preparation.source}/), "
                f"or a prepared folder with --data {preparation.name}=DIR.",
            )
        command += ["--source", str(source / preparation.source)]
    return command + list(preparation.options)


def prepare_all(
    sweep: Sweep, names: Iterable[str], given: Mapping[str, Path], root: Path, source: Path | None
) -> dict[str, Path]:
    """Prepare what is not there yet, one folder after another.

    Args:
        sweep (`Sweep`): The sweep.
        names (`Iterable[str]`): The preparations that are needed.
        given (`Mapping[str, Path]`): Folders of the command line.
        root (`Path`): Where folders are made, below `data`.
        source (`Path`, *optional*): Folder of the published files.

    Returns:
        `dict[str, Path]`: The folder of every preparation that is there now; one that has to be given and is not is
        left out.

    Raises:
        DataError: `cotpd prepare` failed; the message ends with its own.
    """
    folders: dict[str, Path] = {}
    for name in dict.fromkeys(names):
        folder = folder_of(sweep.data[name], given, root)
        if folder is None:
            continue
        if not (folder / "dataset.json").is_file():
            command = prepare_command(sweep.data[name], folder, source)
            print(f"cotpd {shlex.join(command)}", flush=True)
            code = "from modeling_cotpd.cli.main import main; main()"
            done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, check=False)
            if done.returncode:
                raise DataError(
                    f"{name} can not be prepared: {done.stderr.strip().splitlines()[-1] if done.stderr else ''}",
                    place=f"cotpd {shlex.join(command)}",
                )
            folder.with_name(folder.name + ".log").write_text(done.stdout + done.stderr, "utf-8")
        folders[name] = folder
    return folders
