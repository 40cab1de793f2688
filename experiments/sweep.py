"""A sweep: data set x encoder x method x seed, declared in one YAML file."""

import itertools
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modeling_cotpd.errors import SettingError, did_you_mean
from modeling_cotpd.files import read_yaml

TASKS, VIEWS, ORDERS = ("mner", "mre"), ("prompt", "knowledge"), ("uncertainty", "random", "oracle")
MAX_VALUES = 100_000
"""The most values of a sweep with its aliases in place: a few lines of aliases can stand for gigabytes."""
WORDS, SUBWORDS = "words", "first subwords"
"""What a score is read from: whole words, or the first subword token of each token of the data.

`results.json` of a run names the reading; older ones lack it and are of the second."""


@dataclass(frozen=True)
class Preparation:
    """A prepared folder that a sweep reads."""

    name: str
    prepare: str = ""  # the data set as `cotpd prepare` names it
    source: str = ""  # its folder below `--source`; empty for the sample corpora
    options: tuple[str, ...] = ()  # more options of `cotpd prepare` or `cotpd augment`
    augment: "Preparation | None" = None  # what `cotpd augment` reads
    given: str = ""  # how to make a folder that `--data NAME=DIR` gives

    def declaration(self) -> dict[str, Any]:
        """Its part in the identity of a run."""
        if self.given:
            return {"given": self.name}
        if self.augment:
            return {"augment": self.augment.declaration(), "options": list(self.options)}
        return {"prepare": self.prepare, "source": self.source, "options": list(self.options)}


@dataclass(frozen=True)
class Column:
    """A data set as a column of the table; its settings are its recipe with its own settings over it."""

    name: str
    task: str  # "mner" or "mre"
    data: str  # the preparation to train on
    evaluate_on: str = ""  # the preparation that the finished model predicts instead
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """A method as a row of the table. Rows with equal settings share their runs.

    A value `{run: ROW}` of a setting stands for the folder of that row's model (same column, encoder and seed),
    `{run: ROW, seeds: [0, 1]}` for those of these seeds.
    """

    name: str  # short; `note` explains it below the table
    view: str = ""  # the view to report, "prompt" (text only) or "knowledge"; empty: published scores alone
    settings: dict[str, Any] = field(default_factory=dict)
    # another program than the entry point, with {data}, {output}, {seed} and settings in braces; it writes
    # predictions.SPLIT.jsonl into {output}
    command: tuple[str, ...] = ()
    # {text: ROW, knowledge: ROW, share: S, by: ORDER}: no run, but the predictions of the row `knowledge` for the
    # share S of the test posts that come first in the order, and those of `text` elsewhere
    mix: dict[str, Any] = field(default_factory=dict)
    data: str = ""  # another preparation than the column's
    unlabelled: tuple[str, ...] = ()  # preparations whose posts join training without their labels
    columns: tuple[str, ...] = ()  # the columns that it has; empty: all
    point: dict[str, Any] = field(default_factory=dict)  # its values on the axes of `each`
    line: str = ""  # the line of the figure that it is a point of
    published: dict[str, float] = field(default_factory=dict)  # score (0-100) per column
    baseline: str = ""  # the rows for differences and retention; by default those of the sweep
    caption: str = ""
    knowledge: str = ""
    control: str = ""  # the row that differs in one ingredient
    note: str = ""
    main: bool = False  # the summary shows it
    retired: bool = False  # an option that it sets no longer exists: its saved runs are shown, it is not run again


@dataclass(frozen=True)
class Sweep:
    """Everything that a table needs; docs/experiments.md lists the keys of the file."""

    name: str
    title: str
    data: dict[str, Preparation]
    columns: dict[str, Column]
    rows: tuple[Row, ...]
    encoders: dict[str, dict[str, Any]]
    settings: dict[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0,)
    reading: str = WORDS
    published_source: str = ""
    exposure: bool = False
    figure: dict[str, str] = field(default_factory=dict)
    note: str = ""

    def row(self, name: str) -> Row:
        """The row of this name."""
        return next(row for row in self.rows if row.name == name)

    def rows_of(self, column: str) -> list[Row]:
        """The rows that a column has."""
        return [row for row in self.rows if not row.columns or column in row.columns]


def read_sweep(path: str | Path) -> Sweep:
    """Read a sweep; recipes and presets in it are relative to its folder.

    Raises:
        SettingError: The file is missing or no mapping, a key is unknown or missing, or a name refers to nothing.
    """
    path = Path(path)
    place = str(path)
    needed = ("name", "title", "columns", "rows", "data")
    raw = _known(_load(path), {**Sweep.__dataclass_fields__, "baseline": "", "retention": ""}, place, needed)
    raw = {key: value for key, value in raw.items() if value is not None}
    references = {"baseline": raw.pop("baseline", "")}
    references |= _known(raw.pop("retention", {}), ("caption", "knowledge"), f"{place}, retention")
    _known(raw.get("figure", {}), ("x", "label"), f"{place}, figure")
    try:
        raw["data"] = _data(raw["data"], place)
        raw["columns"] = {name: _column(name, value, path) for name, value in raw["columns"].items()}
        encoders = raw.get("encoders") or {"MiniLM": {}}
        raw["encoders"] = {name: _over(value or {}, "preset", path) for name, value in encoders.items()}
        raw["rows"] = tuple(itertools.chain.from_iterable(_rows(row, references, place) for row in raw["rows"]))
        raw["seeds"] = tuple(int(seed) for seed in raw.get("seeds") or (0,))
        sweep = Sweep(**{**raw, "note": str(raw.get("note", "")).strip()})
        _check_references(sweep, place)
    except (AttributeError, TypeError, ValueError) as error:
        if isinstance(error, SettingError):
            raise
        raise SettingError(f"A value has the wrong form ({error}).", place=place) from error
    return sweep


def _load(path: Path) -> dict:
    raw = read_yaml(path, aliases=True)
    if _count_values(raw, {}) > MAX_VALUES:
        message = f"With its aliases in place the file has more than {MAX_VALUES:,} values."
        raise SettingError(message, place=str(path), fix="Use aliases for settings alone.")
    return raw


def _count_values(value: Any, counted: dict[int, float]) -> float:
    """How many values a loaded YAML value has where every alias is written out; infinite if it holds itself."""
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in counted:
        counted[id(value)] = math.inf
        children = [*value, *value.values()] if isinstance(value, dict) else value
        counted[id(value)] = 1 + sum(_count_values(child, counted) for child in children)
    return counted[id(value)]


def _known(mapping: Any, allowed: Collection[str], place: str, needed: Collection[str] = ()) -> dict:
    """The mapping, if all its keys are known and the needed ones are there."""
    if not isinstance(mapping, Mapping):
        raise SettingError(f"'key: value' lines are needed here, not {mapping!r}.", place=place)
    for key in mapping:
        if key not in allowed:
            fix = did_you_mean(str(key), allowed, f"The keys are {', '.join(allowed)}.")
            raise SettingError(f"Unknown key {key!r}.", place=place, fix=fix)
    for key in needed:
        if mapping.get(key) in (None, "", [], {}):
            raise SettingError(f"The key {key!r} is missing.", place=place)
    return dict(mapping)


def _over(settings: dict, key: str, path: Path) -> dict[str, Any]:
    """Settings over those of the file that `key` in them names, relative to the sweep."""
    own = dict(settings)
    file = own.pop(key, None)
    return {**(_load(path.parent / file) if file else {}), **own}


def _column(name: str, raw: Any, path: Path) -> Column:
    allowed = ("task", "recipe", "data", "evaluate_on", "settings")
    raw = _known(raw, allowed, f"{path}, column {name}", ("task", "data"))
    settings = _over({**(raw.get("settings") or {}), "recipe": raw.get("recipe")}, "recipe", path)
    return Column(name, raw["task"], raw["data"], raw.get("evaluate_on") or "", settings)


def _data(raw: Any, place: str) -> dict[str, Preparation]:
    """The preparations; one that augments another follows it."""
    data: dict[str, Preparation] = {}
    for name, value in raw.items():
        spot = f"{place}, data {name}"
        value = _known(value, ("prepare", "source", "augment", "options", "given"), spot)
        if sum(bool(value.get(key)) for key in ("prepare", "augment", "given")) != 1:
            fix = "Name one of 'prepare' (a data set), 'augment' (data above it) and 'given' (how to make the folder)."
            raise SettingError("The source of this data is missing or ambiguous.", place=spot, fix=fix)
        if value.get("augment"):
            if value["augment"] not in data:
                known = f"Known: {', '.join(data)}."
                raise SettingError(f"There is no data {value['augment']!r} above it.", place=spot, fix=known)
            value["augment"] = data[value["augment"]]
        value["options"] = tuple(str(option) for option in value.get("options") or ())
        data[name] = Preparation(name, **{key: inner for key, inner in value.items() if inner is not None})
    return data


def _rows(raw: Any, references: dict[str, str], place: str) -> list[Row]:
    """The rows of one entry: one, or one per point of `each`."""
    spot = f"{place}, row {raw.get('name') if isinstance(raw, Mapping) else raw}"
    raw = _known(raw, {*Row.__dataclass_fields__, "each"} - {"point"}, spot, ("name",))
    each, rows = raw.pop("each", None) or {}, []
    for values in itertools.product(*each.values()):
        point = dict(zip(each, values, strict=True))
        filled = {**references, **_fill(raw, point)}
        filled = {key: tuple(value) if isinstance(value, list) else value for key, value in filled.items()}
        rows.append(Row(point=point, **{**filled, "name": str(filled["name"])}))
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
    rows, columns = sweep.rows, sweep.columns.values()
    names = [row.name for row in rows]
    if doubled := [name for name in names if names.count(name) > 1]:
        raise SettingError(f"Two rows are called {doubled[0]!r}.", place=place)
    asked = [value for row in rows for value in row.settings.values() if isinstance(value, dict)]
    used = {_known(value, ("run", "seeds"), f"{place}, rows", ("run",))["run"] for value in asked}
    for row in rows:
        spot, keys = f"{place}, row {row.name}", ("text", "knowledge", "share", "by")
        if not (row.view or row.mix or row.published):
            raise SettingError("It has no view, no mix and no published score.", place=spot)
        mix = _known(row.mix, keys, f"{spot}, mix", keys if row.mix else ())
        used |= {row.baseline, row.caption, row.knowledge, row.control, mix.get("text", ""), mix.get("knowledge", "")}
    checks = (
        ("view", {row.view for row in rows}, VIEWS),
        ("data", {c.data for c in columns} | {c.evaluate_on for c in columns} | {row.data for row in rows}
         | {name for row in rows for name in row.unlabelled}, sweep.data),
        ("row", used, names),
        ("column", {name for row in rows for name in row.columns}, sweep.columns),
        ("task", {column.task for column in columns}, TASKS),
        ("reading", {sweep.reading}, (WORDS, SUBWORDS)),
        ("order", {row.mix["by"] for row in rows if row.mix}, ORDERS),
    )  # fmt: skip
    for what, wanted, there in checks:
        if unknown := sorted(wanted - {*there, ""}):
            fix = did_you_mean(unknown[0], list(there), f"Known: {', '.join(there)}.")
            raise SettingError(f"There is no {what} {unknown[0]!r}.", place=place, fix=fix)
    if any(row.published for row in rows) and not sweep.published_source:
        raise SettingError("Published scores need their source.", place=place, fix="Add published_source.")
