"""The runs of a sweep, and what makes two of them the same: hashes over settings and data."""

import functools
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet

from experiments.sweep import Column, Sweep
from modeling_cotpd.errors import SettingError, did_you_mean

WITHOUT_EFFECT = frozenset(
    {
        "output_dir", "dataset_dir", "unlabelled_dataset_dir", "overwrite_output_dir", "resume_from_checkpoint",
        "logging_steps", "logging_strategy", "logging_first_step", "report_to", "run_name", "disable_tqdm",
        "log_level", "log_level_replica", "preprocessing_num_workers", "dataloader_num_workers",
        "dataloader_pin_memory", "per_device_eval_batch_size", "eval_accumulation_steps", "save_total_limit",
        "save_only_model", "use_cpu", "cache_dir", "push_to_hub", "hub_model_id", "attn_implementation",
    }
)  # fmt: skip
"""Settings that say where and how verbosely a run works. Folders count by what they hold."""


def digest(value: Any) -> str:
    """sha256 of a value's JSON with sorted keys, 64 hex digits."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def with_effect(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings that change the outcome of a run; one that is `None` is the same as one left out."""
    return {name: value for name, value in settings.items() if name not in WITHOUT_EFFECT and value is not None}


@functools.cache
def data_hash(folder: Path) -> str:
    """sha256 over all rows of a prepared folder (gold labels, captions, knowledge), however Parquet lays them out."""
    info = json.loads((folder / "dataset.json").read_text("utf-8"))
    result = hashlib.sha256(json.dumps([info["task"], info["label_names"]]).encode())
    for split in sorted(info["splits"]):
        result.update(split.encode())
        for batch in pyarrow.parquet.ParquetFile(folder / f"{split}.parquet").iter_batches():
            for row in batch.to_pylist():
                result.update(json.dumps(row, sort_keys=True, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    return result.hexdigest()


def slug(*parts: object) -> str:
    """Parts as one lower-case file name."""
    return re.sub(r"[^a-z0-9]+", "-", " ".join(str(part) for part in parts).lower()).strip("-")[:80] or "run"


@dataclass(frozen=True)
class Run:
    """One launch of an entry point."""

    column: str  # column, encoder and row: the cell of the table that asks for it first
    encoder: str
    row: str
    seed: int
    task: str  # "mner" or "mre": run_mner.py or run_mre.py
    settings: dict[str, Any]  # all that are not defaults, without folders
    data: str  # the preparation that it reads
    command: tuple[str, ...] = ()  # another command than the entry point
    unlabelled: tuple[str, ...] = ()  # the preparations whose posts join without labels
    needs: dict[str, tuple["Run", ...]] = field(default_factory=dict)  # setting to the runs whose models it takes
    declared: str = ""  # hash of its declaration in the sweep, known before any data is prepared

    @property
    def title(self) -> str:
        """Its name in messages."""
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
    """The runs of a sweep: every run once, each after those it needs.

    Seeds are the outer loop, so the whole table has scores after the first seed. Retired rows are not in it. `only`
    names rows, columns or encoders; other runs are left out unless one of these needs them.

    Raises:
        SettingError: A name in `only` is unknown, or rows need each other's models in a circle.
    """

    def __init__(self, sweep: Sweep, only: Iterable[str] = ()):
        self.sweep = sweep
        wanted = set(only)
        axes = (set(sweep.columns), set(sweep.encoders), {row.name for row in sweep.rows})
        known = sorted(set().union(*axes))
        if unknown := sorted(wanted - set(known)):
            names = "\n  ".join(known)
            fix = did_you_mean(unknown[0], known, f"Rows, columns and encoders are:\n  {names}")
            raise SettingError(f"The sweep has nothing called {unknown[0]!r}.", fix=fix)
        chosen = [wanted & axis or axis for axis in axes]
        runs: dict[str, Run] = {}
        for seed in sweep.seeds:
            for encoder in sweep.encoders:
                for column in sweep.columns:
                    for row in sweep.rows_of(column):
                        cell = (column, encoder, row.name)
                        here = all(name in axis for name, axis in zip(cell, chosen, strict=True))
                        if here and row.view and not row.retired:
                            self._add(self.cell(*cell, seed), runs)
        self.runs = list(runs.values())

    def _add(self, run: Run, runs: dict[str, Run]) -> None:
        for need in run.all_needs:
            self._add(need, runs)
        runs.setdefault(run.declared, run)

    def cell(self, column: str, encoder: str, row: str, seed: int) -> Run:
        """The run whose scores a cell of the table reports."""
        place = self.sweep.columns[column]
        trained = self._trained(place, encoder, row, seed)
        if not place.evaluate_on:
            return trained
        settings = {name: value for name, value in trained.settings.items() if not name.startswith("max_train")}
        settings |= {"do_train": False, "do_eval": False, "do_predict": True, "load_best_model_at_end": False}
        settings |= {"eval_strategy": "no", "save_strategy": "no"}  # a strategy would turn do_eval on again
        needs: dict[str, tuple[Run, ...]] = {"model_name_or_path": (trained,)}
        return self._declare(replace(trained, settings=settings, data=place.evaluate_on, unlabelled=(), needs=needs))

    def _trained(self, column: Column, encoder: str, name: str, seed: int, path: tuple[str, ...] = ()) -> Run:
        """The run that trains a row's model, with those that train the models it needs; `path` led to it."""
        if name in path:
            raise SettingError(f"Row {name!r} needs its own model, by way of {' and '.join(path)}.")
        sweep, row = self.sweep, self.sweep.row(name)
        settings = {**column.settings, **sweep.settings, **sweep.encoders[encoder], **row.settings, "seed": seed}
        needs = {
            setting: tuple(
                self._trained(column, encoder, other["run"], wanted, (*path, name))
                for wanted in other.get("seeds") or (seed,)
            )
            for setting, other in settings.items()
            if isinstance(other, Mapping)
        }
        settings = {setting: value for setting, value in settings.items() if setting not in needs}
        data = row.data or column.data
        about = (column.name, encoder, row.name, seed, column.task, settings, data, row.command, row.unlabelled)
        return self._declare(Run(*about, needs))

    def _declare(self, run: Run) -> Run:
        return replace(run, declared=digest(self._declaration(run)))

    def _declaration(self, run: Run) -> dict[str, Any]:
        """The identity of a run as far as the sweep knows it."""
        return {
            "task": run.task,
            "settings": with_effect(run.settings),
            "data": self.sweep.data[run.data].declaration(),
            "unlabelled": [self.sweep.data[name].declaration() for name in run.unlabelled],
            "needs": {name: [need.declared for need in needs] for name, needs in run.needs.items()},
            **({"command": run.command} if run.command else {}),
        }

    def key(self, run: Run, folders: Mapping[str, Path]) -> str:
        """The identity of a run with the content of its data, in these folders, in place of names and commands."""
        return digest(
            {
                **self._declaration(run),
                "data": data_hash(folders[run.data]),
                "unlabelled": [data_hash(folders[name]) for name in run.unlabelled],
                "needs": {name: [self.key(need, folders) for need in needs] for name, needs in run.needs.items()},
            }
        )

    def folder(self, run: Run, folders: Mapping[str, Path], root: Path) -> Path:
        """A run's folder below `root/runs`: a readable name and its hash.

        Another sweep may use another name for the same run, so an existing folder is found by its hash alone.
        """
        key = self.key(run, folders)[:12]
        there = sorted((root / "runs").glob(f"*-{key}"))
        kind = "" if run.trains else "evaluation"
        name = slug(run.data, run.encoder, run.row, kind, f"seed {run.seed}")
        return there[0] if there else root / "runs" / f"{name}-{key}"

    def data_of(self, run: Run) -> list[str]:
        """The preparations that a run and those it needs read."""
        return [run.data, *run.unlabelled, *(name for need in run.all_needs for name in self.data_of(need))]
