"""Which runs a sweep consists of."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from modeling_cotpd.errors import SettingError, did_you_mean
from modeling_cotpd.experiments.identity import data_hash, digest, slug, with_effect
from modeling_cotpd.experiments.sweep import Column, Search, Sweep


@dataclass(frozen=True)
class Run:
    """One launch of an entry point.

    Args:
        column, encoder, row (`str`): Its place in the table that first asked for it.
        seed (`int`): Its training seed.
        task (`str`): `"mner"` or `"mre"`, which is the entry point.
        settings (`dict`): All settings that are not defaults, without folders.
        data (`str`): The preparation that it reads.
        unlabelled (`tuple[str, ...]`): The preparations whose training rows join without labels.
        needs (`dict[str, tuple[Run, ...]]`): Setting to the runs whose model folders it takes.
        search (`Search`): The search that gives its learning rate; 0 trials: its settings do.
        declared (`str`): Hash of what the sweep declares, known before any data is prepared.
    """

    column: str
    encoder: str
    row: str
    seed: int
    task: str
    settings: dict[str, Any]
    data: str
    unlabelled: tuple[str, ...] = ()
    needs: dict[str, tuple["Run", ...]] = field(default_factory=dict)
    search: Search = field(default_factory=Search)
    declared: str = ""

    @property
    def title(self) -> str:
        """How messages name it."""
        return f"{self.column} | {self.encoder} | {self.row} | seed {self.seed}"

    @property
    def all_needs(self) -> list["Run"]:
        """The runs that must be finished before it."""
        return [need for needs in self.needs.values() for need in needs]

    @property
    def trains(self) -> bool:
        """Whether it trains, or only evaluates a finished model."""
        return bool(self.settings.get("do_train"))


class Plan:
    """The runs of a sweep.

    Args:
        sweep (`Sweep`): The sweep.
        only (`Iterable[str]`): Names of rows, columns or encoders; runs that bear none of them are left out, unless
            another run needs them. Empty: all.
        search (`Search`, *optional*): Instead of the sweep's.

    Attributes:
        runs (`list[Run]`): Every run once, each after those it needs; seeds in the outer loop, so that the whole
            table stands after the first seed.

    Raises:
        SettingError: A name in `only` is unknown, or rows need each other's models in a circle.
    """

    def __init__(self, sweep: Sweep, only: Iterable[str] = (), search: Search | None = None):
        self.sweep, self.search = sweep, search or sweep.search
        wanted = set(only)
        known = {*sweep.columns, *sweep.encoders, *(row.name for row in sweep.rows)}
        if wanted - known:
            name = sorted(wanted - known)[0]
            names = "\n  ".join(sorted(known))
            fix = did_you_mean(name, sorted(known), f"Rows, columns and encoders are:\n  {names}")
            raise SettingError(f"The sweep has nothing called {name!r}.", fix=fix)
        self.runs: list[Run] = []
        for seed in sweep.seeds:
            for encoder in sweep.encoders:
                for column in sweep.columns:
                    for row in sweep.rows_of(column):
                        if not wanted or _chosen(wanted, sweep, (column, encoder, row.name)):
                            self._add(self.cell(column, encoder, row.name, seed))

    def cell(self, column: str, encoder: str, row: str, seed: int) -> Run:
        """The run whose scores a cell of the table reports."""
        place = self.sweep.columns[column]
        trained = self._trained(place, encoder, row, seed)
        if not place.evaluate_on:
            return trained
        settings = {name: value for name, value in trained.settings.items() if not name.startswith("max_train")}
        settings |= {"do_train": False, "do_eval": False, "do_predict": True, "load_best_model_at_end": False}
        settings |= {"eval_strategy": "no", "save_strategy": "no"}  # a strategy would turn do_eval on again
        evaluation = replace(
            trained,
            settings=settings,
            data=place.evaluate_on,
            unlabelled=(),
            needs={"model_name_or_path": (trained,)},
            search=Search(),
        )
        return self._declare(evaluation)

    def _trained(self, column: Column, encoder: str, name: str, seed: int, path: tuple[str, ...] = ()) -> Run:
        """The run that trains a row's model, with those that train the models it needs; `path` led to it."""
        if name in path:
            raise SettingError(f"Row {name!r} needs its own model, by way of {' and '.join(path)}.")
        sweep, row = self.sweep, self.sweep.row(name)
        settings = {**column.settings, **sweep.settings, **sweep.encoders[encoder], **row.settings, "seed": seed}
        asked = {setting: value for setting, value in settings.items() if isinstance(value, Mapping)}
        return self._declare(
            Run(
                column=column.name,
                encoder=encoder,
                row=row.name,
                seed=seed,
                task=column.task,
                settings={setting: value for setting, value in settings.items() if setting not in asked},
                data=row.data or column.data,
                unlabelled=row.unlabelled,
                needs={
                    setting: tuple(
                        self._trained(column, encoder, other["run"], wanted, (*path, name))
                        for wanted in other.get("seeds") or (seed,)
                    )
                    for setting, other in asked.items()
                },
                search=self.search,
            )
        )

    def _declare(self, run: Run) -> Run:
        return replace(run, declared=digest(self.declaration(run)))

    def declaration(self, run: Run, seeded: bool = True) -> dict[str, Any]:
        """What a run is, as far as the sweep says it; without its seed for the search that its seeds share."""
        settings = with_effect(run.settings)
        if not seeded:
            settings.pop("seed", None)
        searched = {}
        if run.search.trials:
            settings.pop("learning_rate", None)
            searched = {"search": vars(run.search)}
        return {
            "task": run.task,
            "settings": settings,
            "data": self.sweep.data[run.data].declaration(),
            "unlabelled": [self.sweep.data[name].declaration() for name in run.unlabelled],
            "needs": {
                name: [digest(self.declaration(need, seeded)) for need in needs] for name, needs in run.needs.items()
            },
            **searched,
        }

    def key(self, run: Run, folders: Mapping[str, Path], seeded: bool = True) -> str:
        """What a run is, where what its data holds counts and not how it is called or made.

        Args:
            folders (`Mapping[str, Path]`): Prepared folder of every preparation that the run reads.
        """
        told = self.declaration(run, seeded)
        return digest(
            {
                **told,
                "data": data_hash(folders[run.data]),
                "unlabelled": [data_hash(folders[name]) for name in run.unlabelled],
                "needs": {
                    name: [self.key(need, folders, seeded) for need in needs] for name, needs in run.needs.items()
                },
            }
        )

    def folder(self, run: Run, folders: Mapping[str, Path], root: Path) -> Path:
        """A run's folder below `root/runs`: a readable name and its hash.

        The same run may bear another name in another sweep, so a folder that is there is found by the hash alone.
        """
        key = self.key(run, folders)[:12]
        there = sorted((root / "runs").glob(f"*-{key}"))
        kind = "" if run.trains else "evaluation"
        name = slug(run.data, run.encoder, run.row, kind, f"seed {run.seed}")
        return there[0] if there else root / "runs" / f"{name}-{key}"

    def data_of(self, run: Run) -> list[str]:
        """The preparations that a run and those it needs read."""
        return [run.data, *run.unlabelled, *(name for need in run.all_needs for name in self.data_of(need))]

    def _add(self, run: Run) -> None:
        for need in run.all_needs:
            self._add(need)
        if run.declared not in {other.declared for other in self.runs}:
            self.runs.append(run)


def _chosen(wanted: set[str], sweep: Sweep, names: tuple[str, str, str]) -> bool:
    """Whether a cell bears, on every axis that `wanted` speaks of, one of the wanted names."""
    axes = (set(sweep.columns), set(sweep.encoders), {row.name for row in sweep.rows})
    return all(name in wanted or not wanted & axis for name, axis in zip(names, axes, strict=True))
