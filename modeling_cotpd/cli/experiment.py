"""`cotpd experiment`: run a sweep and make its tables and figures; `cotpd cases`: look at single posts."""

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modeling_cotpd.errors import SettingError

if TYPE_CHECKING:
    from modeling_cotpd.experiments.runner import Runner

FAILED = 3
"""Exit code: a run failed; the others were run."""


def experiment(
    sweeps: Annotated[
        list[Path] | None, typer.Argument(help="Sweeps, such as configuration/experiments/*.yaml.")
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(help="Folder of the published files, one folder per data set.", envvar="COTPD_SOURCE"),
    ] = None,
    data: Annotated[
        list[str] | None, typer.Option(help="NAME=DIR: a prepared folder for data of the sweep; repeatable.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where data, runs, tables and figures go.")] = Path("outputs/experiments"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be run and what it costs.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --dry-run: one line of JSON per sweep.")] = False,
    only: Annotated[list[str] | None, typer.Option(help="A row, column or encoder to run; repeatable.")] = None,
    seeds: Annotated[str | None, typer.Option(help="Other seeds than the sweep's for this call, such as 0,1.")] = None,
    trials: Annotated[
        int | None,
        typer.Option(help="Trials of a learning-rate search for every row; 0: none.", show_default="sweep's"),
    ] = None,
    launcher: Annotated[
        str, typer.Option(help="What starts the entry points, such as 'accelerate launch'; default: this Python.")
    ] = "",
    keep_models: Annotated[bool, typer.Option(help="Keep the weights of finished runs.")] = True,
    tables: Annotated[bool, typer.Option("--tables", help="Run nothing; make tables and figures.")] = False,
    runs: Annotated[
        Path | None, typer.Option(help="Folder of saved runs (runs.parquet, counts.parquet) for --check and --write.")
    ] = None,
    save: Annotated[Path | None, typer.Option(help="Also add the saved runs, without texts, to this folder.")] = None,
    check: Annotated[Path | None, typer.Option(help="Compare a document's tables with the saved runs.")] = None,
    write: Annotated[Path | None, typer.Option(help="Write a document's tables from the saved runs.")] = None,
) -> None:
    """Run sweeps. A finished run is never repeated, a crashed one resumes, a failing one does not stop the others.

    Example:

        cotpd experiment configuration/experiments/table3.yaml --source raw
    """
    from modeling_cotpd.experiments.document import check as check_document
    from modeling_cotpd.experiments.document import write as write_document

    if not sweeps and not check and not write:
        raise SettingError("There is nothing to do.", fix="Name a sweep, or give --check or --write a document.")
    if as_json and not dry_run:
        raise SettingError("--json goes with --dry-run.", fix="Read runs.parquet after a run.")
    given = {name: Path(folder) for name, folder in (_pair(value) for value in data or [])}
    failed = False
    for path in sweeps or []:
        failed |= _sweep(
            path,
            given,
            source,
            out,
            only or [],
            seeds,
            trials,
            shlex.split(launcher),
            keep_models,
            dry_run,
            as_json,
            tables,
            save,
        )
    if write:
        write_document(write, runs or out)
        typer.echo(f"Written to {write}.")
    if check:
        check_document(check, runs or out)
        typer.echo(f"{check} agrees with the saved runs.")
    if failed:
        raise typer.Exit(FAILED)


def _sweep(
    path: Path,
    given: dict[str, Path],
    source: Path | None,
    out: Path,
    only: list[str],
    seeds: str | None,
    trials: int | None,
    launcher: list[str],
    keep_models: bool,
    dry_run: bool,
    as_json: bool,
    tables: bool,
    save: Path | None,
) -> bool:
    """One sweep from data to tables; returns whether a run failed."""
    from dataclasses import replace

    from modeling_cotpd.experiments.plan import Plan
    from modeling_cotpd.experiments.preparation import check_given, folder_of, prepare_all
    from modeling_cotpd.experiments.report import make_report
    from modeling_cotpd.experiments.runner import Runner
    from modeling_cotpd.experiments.sweep import read_sweep

    sweep = read_sweep(path)
    mine = {name: folder for name, folder in given.items() if name in sweep.data}
    check_given(sweep, mine)
    whole = Plan(sweep, search=None if trials is None else replace(sweep.search, trials=trials))
    chosen = replace(sweep, seeds=tuple(int(seed) for seed in seeds.split(","))) if seeds else sweep
    plan = Plan(chosen, only, whole.search)
    typer.echo(f"{sweep.name}: {sweep.title}", err=as_json)
    wanted = [name for run in plan.runs for name in plan.data_of(run)]
    there = {name: folder_of(sweep.data[name], mine, out) for name in sweep.data}
    if not (dry_run or tables):
        prepare_all(sweep, wanted, mine, out, source)
    folders = {name: at for name, at in there.items() if at is not None and (at / "dataset.json").is_file()}
    for name in dict.fromkeys(wanted):
        if name not in folders:
            given_by_hand = sweep.data[name].given
            typer.echo(
                f"  {name} is not there: {given_by_hand or 'cotpd prepare makes it when the sweep is run'}",
                err=as_json,
            )
            if given_by_hand:
                typer.echo(f"    then give --data {name}=DIR", err=as_json)
    outcome = None
    if not tables:
        runner = Runner(plan, folders, out, launcher, keep_models)
        if dry_run and as_json:
            typer.echo(json.dumps({"sweep": sweep.name, "runs": _runs(runner)}))
            return False
        typer.echo("\n".join(runner.describe()))
        if dry_run:
            return False
        outcome = runner.run_all()
    for file in make_report(whole, folders, out, save):
        typer.echo(f"Written: {file}")
    if outcome is None:
        return False
    for title, why in outcome.left_out.items():
        typer.echo(f"left out: {title}: {why}")
    for title, why in outcome.failed.items():
        typer.echo(f"failed: {title}\n{why}", err=True)
    typer.echo(
        f"{len(outcome.done)} runs done, {len(outcome.finished_before)} were finished before, "
        f"{len(outcome.failed)} failed, {len(outcome.left_out)} left out."
    )
    return bool(outcome.failed)


def _runs(runner: "Runner") -> list[dict]:
    """What a dry run says, for scripts; `seconds` is null where no finished run tells how long one takes."""
    from modeling_cotpd.experiments.cost import finished_runs

    finished, rows = finished_runs(runner.root), []
    for run in runner.plan.runs:
        lacking = runner.lacking(run)
        done = not lacking and runner.is_done(run)
        state = "without data" if lacking else "finished" if done else "to do"
        seconds = None if lacking or done else runner.estimate(run, finished)
        rows.append({"run": run.title, "state": state, "lacks": list(lacking), "seconds": seconds})
    return rows


def _pair(value: str) -> tuple[str, str]:
    name, equals, folder = value.partition("=")
    if not (name and equals and folder):
        raise SettingError(f"--data takes NAME=DIR, but got {value!r}.")
    return name, folder


def cases(
    model: Annotated[Path, typer.Argument(help="Folder of a trained CoTPD model.")],
    dataset_dir: Annotated[Path, typer.Option(help="The prepared folder, with its knowledge.")],
    out: Annotated[Path, typer.Option(help="The HTML page.")],
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    ids: Annotated[
        list[str] | None, typer.Option("--id", help="A post; repeatable. Default: posts on which views disagree.")
    ] = None,
    count: Annotated[int, typer.Option(help="How many posts at most.")] = 12,
    compare: Annotated[Path | None, typer.Option(help="Another model, whose text-only predictions are shown.")] = None,
    knowledge_columns: Annotated[
        str, typer.Option(help="Columns of the knowledge view, parted by commas.")
    ] = "caption,cot_noun,cot_sentence,cot_multimodality",
    max_length: Annotated[int, typer.Option(help="The most pieces of the knowledge view.")] = 192,
) -> None:
    """Show single posts: entities, the prediction of every view, the knowledge, and where the prompt looks.

    Example:

        cotpd cases outputs/twitter2017_minilm --dataset-dir data/twitter2017 --out cases.html
    """
    import os

    from modeling_cotpd.experiments.case_page import render_page
    from modeling_cotpd.experiments.cases import study

    found = study(
        model,
        dataset_dir,
        split=split,
        ids=ids or [],
        count=count,
        compare=compare,
        knowledge_columns=[name.strip() for name in knowledge_columns.split(",")],
        max_length=max_length,
    )
    about = f"Model {'/'.join(model.parts[-2:])}, data {dataset_dir.name}, split {split}"
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(out.name + ".tmp")
    temporary.write_text(render_page("Case studies", found, about), "utf-8")
    os.replace(temporary, out)
    typer.echo(f"{len(found)} posts written to {out}.")
