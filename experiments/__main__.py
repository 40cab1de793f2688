"""Run sweeps and make their tables: `python -m experiments SWEEP.yaml ...` in a clone of the repository.

A finished run is never repeated, an interrupted one resumes, a failing one does not stop the others.
"""

import argparse
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from experiments import document
from experiments.figures import draw
from experiments.plan import Plan, digest, slug
from experiments.runner import COTPD, Runner
from experiments.scores import Scores
from experiments.store import collect, write_store
from experiments.sweep import Preparation, Sweep, read_sweep
from experiments.tables import render
from modeling_cotpd.cli.main import exit_code
from modeling_cotpd.errors import DataError, SettingError
from modeling_cotpd.files import atomic_write

FAILED = 3
"""Exit code: a run failed, and the others were run."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(prog="python -m experiments", description=__doc__.split("\n")[0])
    add = found.add_argument
    add("sweeps", nargs="*", type=Path, help="such as configuration/experiments/table3.yaml")
    add("--source", type=Path, help="folder of the published files, with one folder per data set")
    add("--data", action="append", default=[], metavar="NAME=DIR", help="a prepared folder for data of the sweep")
    add("--out", type=Path, default=Path("outputs/experiments"), help="folder of data, runs, tables and figures")
    add("--dry-run", action="store_true", help="print the runs and their expected time")
    add("--only", action="append", default=[], metavar="NAME", help="a row, column or encoder to run")
    add("--seeds", type=_seeds, help="seeds of this call, such as 0,1")
    add("--tables", action="store_true", help="run nothing; make tables and figures")
    add("--save", type=Path, metavar="DIR", help="add the runs, without texts, to the files in this folder")
    add("--runs", type=Path, default=Path("docs/results"), help="folder of saved runs for --write and --check")
    add("--write", action="append", default=[], type=Path, metavar="DOC", help="write a document's tables and figures")
    add("--check", action="append", default=[], type=Path, metavar="DOC", help="compare a document with the runs")
    return found


def _seeds(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    options = parser().parse_args(arguments)
    if not (options.sweeps or options.write or options.check):
        raise SettingError("There is nothing to do.", fix="Name a sweep, or give --write or --check a document.")
    sweeps = [read_sweep(path) for path in options.sweeps]
    given = _given(sweeps, options.data)
    failed = [_run_sweep(sweep, given, options) for sweep in sweeps]
    for path in options.write:
        document.write(path, options.runs)
        print(f"Written: {path}")
    for path in options.check:
        document.check(path, options.runs)
        print(f"{path} agrees with the saved runs.")
    return FAILED if any(failed) else 0


def _run_sweep(sweep: Sweep, given: dict[str, Path], options: argparse.Namespace) -> bool:
    """One sweep from data to tables; returns whether a run failed."""
    plan = Plan(replace(sweep, seeds=options.seeds) if options.seeds else sweep, options.only)
    print(f"{sweep.name}: {sweep.title}")
    wanted = dict.fromkeys(name for run in plan.runs for name in plan.data_of(run))
    if not (options.dry_run or options.tables):
        prepare_all(sweep, wanted, given, options.out, options.source)
    there = {name: folder_of(each, given, options.out) for name, each in sweep.data.items()}
    folders = {name: folder for name, folder in there.items() if folder is not None and is_prepared(folder)}
    for name in [name for name in wanted if name not in folders]:
        given_by = sweep.data[name].given
        print(f"  data {name}: {f'{given_by}, then give --data {name}=DIR' if given_by else 'not made yet'}")
    failed = {}
    if not options.tables:
        runner = Runner(plan, folders, options.out)
        print("\n".join(runner.describe()))
        if options.dry_run:
            return False
        outcome = runner.run_all()
        failed = outcome.failed
        for title, reason in outcome.left_out.items():
            print(f"left out: {title}: {reason}")
        for title, reason in failed.items():
            print(f"failed: {title}\n{reason}", file=sys.stderr)
        counts = (outcome.done, outcome.finished_before, failed, outcome.left_out)
        print("{} runs done, {} were finished before, {} failed, {} left out.".format(*map(len, counts)))
    report(Plan(sweep), folders, options.out, options.save)
    return bool(failed)


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


def report(plan: Plan, folders: dict[str, Path], out: Path, save: Path | None = None) -> list[Path]:
    """Write table and figure of the finished runs to `out`, and add the runs to the files in `save`."""
    runs, counts = collect(plan, folders, out)
    if save is not None:
        write_store(save, runs, counts)
    if not len(runs):
        return []
    scores = Scores(plan, runs, counts)
    table = out / "tables" / f"{plan.sweep.name}.md"
    with atomic_write(table) as file:
        file.write(f"# {plan.sweep.title}\n\n{render(scores)}")
    files = [path for path in (table, draw(scores, out / "figures")) if path]
    for path in files:
        print(f"Written: {path}")
    return files


def _given(sweeps: list[Sweep], pairs: list[str]) -> dict[str, Path]:
    """The folders of `--data`, checked."""
    given, known = {}, sorted({name for sweep in sweeps for name in sweep.data})
    for pair in pairs:
        name, _, folder = pair.partition("=")
        if not (name and folder):
            raise SettingError(f"--data takes NAME=DIR, but got {pair!r}.")
        if name not in known:
            raise SettingError(f"There is no data {name!r} in a sweep.", fix=f"Known: {', '.join(known)}.")
        if not is_prepared(Path(folder)):
            raise DataError("This is not a prepared folder.", place=folder, fix="Make it with cotpd prepare.")
        given[name] = Path(folder)
    return given


if __name__ == "__main__":
    sys.exit(exit_code(main, "experiments"))
