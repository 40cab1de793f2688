"""A sweep: data set x encoder x method x knowledge x seed, declared in one YAML file."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from modeling_cotpd.data.schema import TASKS
from modeling_cotpd.errors import SettingError, did_you_mean

VIEWS = ("prompt", "knowledge")
READINGS = ("lenient", "strict")
FIGURES = ("bars", "lines")


@dataclass(frozen=True)
class Preparation:
    """A prepared folder that a sweep reads.

    Args:
        name (`str`): What the sweep calls it.
        prepare (`str`): The data set as `cotpd prepare` names it; empty for a folder given on the command line.
        source (`str`): Its folder below the source folder given on the command line; empty for the sample corpora.
        options (`tuple[str, ...]`): More of the `cotpd prepare` or `cotpd augment` command.
        augment (`Preparation`, *optional*): The preparation that `cotpd augment` makes it from.
        given (`str`): How to make a folder that the command line has to give; empty when it is prepared here.
    """

    name: str
    prepare: str = ""
    source: str = ""
    options: tuple[str, ...] = ()
    augment: "Preparation | None" = None
    given: str = ""

    def declaration(self) -> dict[str, Any]:
        """What enters the identity of a run."""
        if self.given:
            return {"given": self.name}
        if self.augment:
            return {"augment": self.augment.declaration(), "options": list(self.options)}
        return {"prepare": self.prepare, "source": self.source, "options": list(self.options)}


@dataclass(frozen=True)
class Column:
    """A data set as a column of the table.

    Args:
        name (`str`): Its heading.
        task (`str`): `"mner"` or `"mre"`.
        data (`str`): The preparation that is trained on.
        evaluate_on (`str`): The preparation that is predicted on instead, by the finished model; empty: `data`.
        settings (`dict`): The recipe named by `recipe`, with the column's own `settings` over it.
    """

    name: str
    task: str
    data: str
    evaluate_on: str = ""
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """A method as a row of the table; rows that differ in their view alone share their runs.

    Args:
        name (`str`): Its heading.
        view (`str`): The view that it reports, `"prompt"` (text only) or `"knowledge"`.
        settings (`dict`): What it changes in the settings. A value `{run: ROW}` stands for the folder of that row's
            model of the same column, encoder and seed; `{run: ROW, seeds: [0, 1]}` for those of these seeds.
        data (`str`): Another preparation than the column's; empty: the column's.
        unlabelled (`tuple[str, ...]`): Preparations whose training rows join without labels.
        columns (`tuple[str, ...]`): The columns that it has; empty: all.
        point (`dict`): Its place on the axes of `each`, for figures.
        published (`dict[str, float]`): Published score (0-100) per column.
        control (`str`): The row that lacks one thing that this one has; the difference to it is told. Empty: none.
        note (`str`): A remark below the table.
    """

    name: str
    view: str
    settings: dict[str, Any] = field(default_factory=dict)
    data: str = ""
    unlabelled: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    point: dict[str, Any] = field(default_factory=dict)
    published: dict[str, float] = field(default_factory=dict)
    control: str = ""
    note: str = ""


@dataclass(frozen=True)
class Search:
    """A learning-rate search on the validation split before the runs, equal for every row.

    Args:
        trials (`int`): Trials per row; 0: no search.
        low, high (`float`): The range, searched on a log scale; by default the paper's, 1e-6 to 5e-5.
        seed (`int`): Training seed of the trials, and seed of the sampler.
    """

    trials: int = 0
    low: float = 1.0e-6
    high: float = 5.0e-5
    seed: int = 0

    def __post_init__(self):
        if self.trials < 0 or not 0 < self.low < self.high:
            raise SettingError(
                f"search needs trials >= 0 and 0 < low < high, got {self.trials}, {self.low}, {self.high}."
            )


@dataclass(frozen=True)
class Sweep:
    """Everything that a table needs. The file's keys carry these names; see docs/experiments.md for an example."""

    name: str
    title: str
    columns: dict[str, Column]
    encoders: dict[str, dict[str, Any]]
    rows: tuple[Row, ...]
    seeds: tuple[int, ...]
    data: dict[str, Preparation]
    settings: dict[str, Any]
    baseline: str
    caption_row: str
    knowledge_row: str
    search: Search
    reading: str
    published_source: str
    exposure: bool
    figure: dict[str, str]
    note: str

    def row(self, name: str) -> Row:
        """The row of this name."""
        return next(row for row in self.rows if row.name == name)

    def rows_of(self, column: str) -> list[Row]:
        """The rows that a column has."""
        return [row for row in self.rows if not row.columns or column in row.columns]


def read_sweep(path: str | Path) -> Sweep:
    """Read a sweep.

    Args:
        path (`str` or `Path`): The YAML file. Recipes in it are relative to its folder.

    Raises:
        SettingError: The file is missing or no mapping, a key is unknown or missing, or a name refers to nothing.

    Example:
        >>> read_sweep("configuration/experiments/table3.yaml").baseline  # doctest: +SKIP
        'text only'
    """
    path = Path(path)
    place = str(path)
    raw = _load(path)
    keys = ("name", "title", "columns", "encoders", "rows", "seeds", "data", "settings", "baseline", "retention",
            "search", "reading", "published_source", "exposure", "figure", "note")  # fmt: skip
    _known(raw, keys, place, ("name", "title", "columns", "rows", "data"))
    rows = tuple(itertools.chain.from_iterable(_rows(row, place) for row in raw["rows"]))
    retention = _known(raw.get("retention") or {}, ("caption", "knowledge"), f"{place}, retention")
    sweep = Sweep(
        name=str(raw["name"]),
        title=str(raw["title"]),
        columns={name: _column(name, value, path) for name, value in raw["columns"].items()},
        encoders={name: dict(value or {}) for name, value in (raw.get("encoders") or {"MiniLM": {}}).items()},
        rows=rows,
        seeds=tuple(int(seed) for seed in raw.get("seeds") or (0,)),
        data=_data(raw["data"], place),
        settings=dict(raw.get("settings") or {}),
        baseline=str(raw.get("baseline") or rows[0].name),
        caption_row=str(retention.get("caption", "")),
        knowledge_row=str(retention.get("knowledge", "")),
        search=_search(raw.get("search") or {}, place),
        reading=str(raw.get("reading", "lenient")),
        published_source=str(raw.get("published_source") or ""),
        exposure=bool(raw.get("exposure", False)),
        figure=_known(raw.get("figure") or {}, ("kind", "x", "lines", "label"), f"{place}, figure"),
        note=str(raw.get("note") or "").strip(),
    )
    _check_references(sweep, place)
    return sweep


def _load(path: Path) -> dict:
    if not path.is_file():
        raise SettingError("There is no such file.", place=str(path), fix="Sweeps are in configuration/experiments.")
    try:
        raw = yaml.safe_load(path.read_text("utf-8"))
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise SettingError(f"This is not YAML: {error}", place=str(path)) from error
    if not isinstance(raw, dict):
        raise SettingError("The file holds no 'key: value' lines.", place=str(path))
    return raw


def _known(mapping: Any, allowed: Iterable[str], place: str, needed: Iterable[str] = ()) -> dict:
    """The mapping, if all its keys are known and the needed ones are there."""
    if not isinstance(mapping, Mapping):
        raise SettingError(f"'key: value' lines are needed here, not {mapping!r}.", place=place)
    for key in mapping:
        if key not in allowed:
            fix = did_you_mean(str(key), allowed, f"The keys are {', '.join(allowed)}.")
            raise SettingError(f"Unknown key {key!r}.", place=place, fix=fix)
    for key in needed:
        if not mapping.get(key):
            raise SettingError(f"The key {key!r} is missing.", place=place)
    return dict(mapping)


def _column(name: str, raw: Any, sweep_path: Path) -> Column:
    place = f"{sweep_path}, column {name}"
    raw = _known(raw, ("task", "recipe", "data", "evaluate_on", "settings"), place, ("task", "data"))
    if raw["task"] not in TASKS:
        raise SettingError(f"task must be one of {', '.join(TASKS)}, got {raw['task']!r}.", place=place)
    recipe = _load(sweep_path.parent / raw["recipe"]) if raw.get("recipe") else {}
    settings = {**recipe, **(raw.get("settings") or {})}
    return Column(name, raw["task"], raw["data"], raw.get("evaluate_on") or "", settings)


def _data(raw: Any, sweep_place: str) -> dict[str, Preparation]:
    """The preparations; one that augments another follows it."""
    data: dict[str, Preparation] = {}
    for name, value in raw.items():
        place = f"{sweep_place}, data {name}"
        value = _known(value, ("prepare", "source", "augment", "options", "given"), place)
        if sum(bool(value.get(key)) for key in ("prepare", "augment", "given")) != 1:
            fix = "Name one of 'prepare' (a data set), 'augment' (data above it) and 'given' (how to make the folder)."
            raise SettingError("It is not said where this comes from.", place=place, fix=fix)
        if value.get("augment") and value["augment"] not in data:
            raise SettingError(
                f"There is no data {value['augment']!r} above it.", place=place, fix=f"Known: {', '.join(data)}."
            )
        data[name] = Preparation(
            name=name,
            prepare=value.get("prepare") or "",
            source=value.get("source") or "",
            options=tuple(str(option) for option in value.get("options") or ()),
            augment=data.get(value.get("augment") or ""),
            given=value.get("given") or "",
        )
    return data


def _search(raw: Any, sweep_place: str) -> Search:
    raw = _known(raw, ("trials", "low", "high", "seed"), f"{sweep_place}, search")
    kinds = {"trials": int, "low": float, "high": float, "seed": int}
    return Search(**{key: kinds[key](value) for key, value in raw.items()})


def _rows(raw: Any, sweep_place: str) -> list[Row]:
    """The rows that one entry stands for: one, or one per point of `each`."""
    place = f"{sweep_place}, row {raw.get('name') if isinstance(raw, Mapping) else raw}"
    keys = ("name", "view", "settings", "data", "unlabelled", "columns", "each", "published", "control", "note")
    raw = _known(raw, keys, place, ("name", "view"))
    if raw["view"] not in VIEWS:
        raise SettingError(f"view must be one of {', '.join(VIEWS)}, got {raw['view']!r}.", place=place)
    each = raw.get("each") or {}
    rows = []
    for values in itertools.product(*each.values()):
        point = dict(zip(each, values, strict=True))
        rows.append(
            Row(
                name=str(_fill(raw["name"], point)),
                view=raw["view"],
                settings=_fill(raw.get("settings") or {}, point),
                data=str(_fill(raw.get("data") or "", point)),
                unlabelled=tuple(_fill(raw.get("unlabelled") or [], point)),
                columns=tuple(raw.get("columns") or ()),
                point=point,
                published={name: float(score) for name, score in (raw.get("published") or {}).items()},
                control=str(_fill(raw.get("control") or "", point)),
                note=str(raw.get("note") or ""),
            )
        )
    return rows


def _fill(value: Any, point: dict[str, Any]) -> Any:
    """Put a point's values where `{axis}` stands; a string that is nothing else takes the value's type."""
    if isinstance(value, dict):
        return {key: _fill(inner, point) for key, inner in value.items()}
    if isinstance(value, list):
        return [_fill(inner, point) for inner in value]
    if isinstance(value, str):
        for axis, filled in point.items():
            if value == "{" + axis + "}":
                return filled
            value = value.replace("{" + axis + "}", str(filled))
    return value


def _check_references(sweep: Sweep, place: str) -> None:
    """Every name in the sweep must name something in it."""
    names = [row.name for row in sweep.rows]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SettingError(f"Two rows are called {twice[0]!r}.", place=place)
    used = {column.data for column in sweep.columns.values()}
    used |= {column.evaluate_on for column in sweep.columns.values()} | {row.data for row in sweep.rows}
    used |= {name for row in sweep.rows for name in row.unlabelled}
    asked = [value for row in sweep.rows for value in row.settings.values() if isinstance(value, dict)]
    runs = {_known(value, ("run", "seeds"), f"{place}, rows", ("run",))["run"] for value in asked}
    controls = {row.control for row in sweep.rows}
    checks = (
        ("data", used - {""}, list(sweep.data)),
        ("row", {sweep.baseline, sweep.caption_row, sweep.knowledge_row, *runs, *controls} - {""}, names),
        ("column", {n for row in sweep.rows for n in (*row.columns, *row.published)}, list(sweep.columns)),
        ("reading", {sweep.reading}, list(READINGS)),
        ("kind of figure", {sweep.figure["kind"]} if sweep.figure else set(), list(FIGURES)),
    )
    for what, wanted, there in checks:
        unknown = sorted(wanted - set(there))
        if unknown:
            raise SettingError(f"There is no {what} {unknown[0]!r}.", place=place, fix=f"Known: {', '.join(there)}.")
    if any(row.published for row in sweep.rows) and not sweep.published_source:
        raise SettingError("Published scores need their source.", place=place, fix="Add published_source.")
