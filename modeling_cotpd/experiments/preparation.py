"""The data of a sweep: folders that the command line gives, and those that `cotpd prepare` or `augment` makes once."""

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


def prepare_command(preparation: Preparation, folder: Path, source: Path | None, base: Path | None) -> list[str]:
    """The `cotpd prepare` or `cotpd augment` command line of a preparation, without the interpreter.

    Args:
        preparation (`Preparation`): What is made.
        folder (`Path`): Where.
        source (`Path`, *optional*): Folder of the published files.
        base (`Path`, *optional*): Folder of the preparation that it augments.

    Raises:
        SettingError: It needs a source folder and none is given.
    """
    if base is not None:
        return ["augment", str(base), "--out", str(folder), *preparation.options]
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
        preparation = sweep.data[name]
        base = preparation.augment
        if base and base.name not in folders and name not in given:
            folders |= prepare_all(sweep, [base.name], given, root, source)
        folder = folder_of(preparation, given, root)
        if folder is None or (base and name not in given and base.name not in folders):
            continue
        if not (folder / "dataset.json").is_file():
            _make(
                preparation, folder, prepare_command(preparation, folder, source, folders[base.name] if base else None)
            )
        folders[name] = folder
    return folders


def _make(preparation: Preparation, folder: Path, command: list[str]) -> None:
    print(f"cotpd {shlex.join(command)}", flush=True)
    started = [sys.executable, "-m", "modeling_cotpd", *command]
    done = subprocess.run(started, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DataError(
            f"{preparation.name} can not be prepared: {done.stderr.strip().splitlines()[-1] if done.stderr else ''}",
            place=f"cotpd {shlex.join(command)}",
        )
    folder.with_name(folder.name + ".log").write_text(done.stdout + done.stderr, "utf-8")
