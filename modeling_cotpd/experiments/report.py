"""The files that a sweep leaves: saved runs, a table, figures."""

import os
from collections.abc import Mapping
from pathlib import Path

from modeling_cotpd.experiments.collect import RUNS_FILE, collect, read_store, write_store
from modeling_cotpd.experiments.figures import draw
from modeling_cotpd.experiments.plan import Plan
from modeling_cotpd.experiments.scores import Scores
from modeling_cotpd.experiments.tables import render


def make_report(plan: Plan, folders: Mapping[str, Path], out: Path, save: Path | None = None) -> list[Path]:
    """Collect the finished runs of a sweep and write everything that is made from them.

    Args:
        plan (`Plan`): The whole sweep.
        folders (`Mapping[str, Path]`): Prepared folders that are there.
        out (`Path`): Where `runs.parquet`, `counts.parquet`, `tables` and `figures` go.
        save (`Path`, *optional*): Another folder that the saved runs are added to, such as `docs/results`.

    Returns:
        The files written.
    """
    runs, counts = collect(plan, folders, out)
    looked_at = [run.declared for run in plan.runs if all(name in folders for name in plan.data_of(run))]
    write_store(out, runs, counts, looked_at)
    if save is not None:  # it gathers the runs of several machines, so what is not here stays
        write_store(save, runs, counts)
    if not (out / RUNS_FILE).is_file():
        return []
    scores = Scores(plan, *read_store(out))
    table = out / "tables" / f"{plan.sweep.name}.md"
    table.parent.mkdir(parents=True, exist_ok=True)
    temporary = table.with_name(table.name + ".tmp")
    temporary.write_text(render(scores), "utf-8")
    os.replace(temporary, table)
    return [out / RUNS_FILE, table, *draw(scores, out / "figures")]
