"""The data of a sweep: folders from the command line, and folders that `cotpd` makes once."""

import shlex
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from experiments.plan import digest, slug
from experiments.runner import COTPD
from experiments.sweep import Preparation, Sweep
from modeling_cotpd.errors import DataError, SettingError


def is_prepared(folder: Path) -> bool:
    """Whether this is a prepared folder."""
    return (folder / "dataset.json").is_file()


def folder_of(preparation: Preparation, given: Mapping[str, Path], root: Path) -> Path | None:
    """Where a preparation is or will be; `None` if the command line has to give it and does not."""
    if preparation.given or preparation.name in given:
        return given.get(preparation.name)
    return root / "data" / f"{slug(preparation.name)}-{digest(preparation.declaration())[:8]}"


def prepare_all(
    sweep: Sweep, names: Iterable[str], given: Mapping[str, Path], root: Path, source: Path | None
) -> dict[str, Path]:
    """Prepare the missing folders, one after another, in the folder `data` of `root`.

    Returns the folder of every preparation; one that has to be given on the command line and is not, is left out.

    Raises:
        SettingError: A source folder is needed and none is given.
        DataError: `cotpd` failed; the message ends with its own.
    """
    folders: dict[str, Path] = {}
    for name in dict.fromkeys(names):
        preparation = sweep.data[name]
        folder = folder_of(preparation, given, root)
        base = preparation.augment if name not in given else None
        if base:
            folders |= prepare_all(sweep, [base.name], given, root, source)
        if folder and (not base or base.name in folders):
            if not is_prepared(folder):
                _make(preparation, folder, folders[base.name] if base else None, source)
            folders[name] = folder
    return folders


def _make(preparation: Preparation, folder: Path, base: Path | None, source: Path | None) -> None:
    command = ["augment", str(base)] if base else ["prepare", preparation.prepare]
    command += ["--out", str(folder)]
    if preparation.source:
        if source is None:
            fix = f"Give the folder above {preparation.source}/ with --source DIR, or --data {preparation.name}=DIR."
            raise SettingError(f"{preparation.name} is made from published files.", fix=fix)
        command += ["--source", str(source / preparation.source)]
    command += preparation.options
    print(f"cotpd {shlex.join(command)}", flush=True)
    done = subprocess.run([*COTPD, *command], capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise DataError(f"{preparation.name} cannot be prepared: {reason[0]}", place=f"cotpd {shlex.join(command)}")
    folder.with_name(folder.name + ".log").write_text(done.stdout + done.stderr, "utf-8")
