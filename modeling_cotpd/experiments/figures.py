"""Figures of a sweep: bars with intervals, or lines over one axis of its rows."""

import textwrap
from pathlib import Path
from typing import Any

from modeling_cotpd.errors import SettingError
from modeling_cotpd.experiments.identity import slug
from modeling_cotpd.experiments.scores import Cell, Scores
from modeling_cotpd.experiments.sweep import Sweep

COLOURS = ("#3b6fb6", "#d9822b", "#3a9a5b", "#b8433e", "#7a5aa6", "#6b6b6b", "#b59b1f")
LABEL_WIDTH = 44
"""Characters of a method's name in one line."""


def draw(scores: Scores, folder: Path) -> list[Path]:
    """Draw the figure that a sweep declares, for every encoder, as PNG and SVG.

    Args:
        scores (`Scores`): Its cells.
        folder (`Path`): Where the pictures go.

    Returns:
        The files written; none without finished runs.

    Raises:
        SettingError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise SettingError("Figures need matplotlib.", fix="pip install 'modeling_cotpd[experiments]'") from error
    matplotlib.use("Agg")
    # text stays text in the SVG, and two drawings of the same runs are the same file
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "cotpd", "font.size": 9})
    import matplotlib.pyplot as plt

    sweep = scores.plan.sweep
    draw_one = _lines if sweep.figure.get("kind") == "lines" else _bars
    files = []
    folder.mkdir(parents=True, exist_ok=True)
    for encoder in sweep.encoders:
        cells = {
            column: {row.name: scores.cell(column, encoder, row.name) for row in sweep.rows_of(column)}
            for column in sweep.columns
        }
        filled = {column: rows for column, rows in cells.items() if any(cell.seeds for cell in rows.values())}
        if not filled:
            continue
        width = 1.6 + (3.4 if draw_one is _lines else 4.2) * len(filled)
        shown = [row.name for row in sweep.rows if any(_finished(rows, row.name) for rows in filled.values())]
        labels = [textwrap.fill(name, LABEL_WIDTH) for name in shown]
        height = (
            3.4 if draw_one is _lines else 1.2 + 0.19 * len(labels) * max(2 + label.count("\n") for label in labels)
        )
        figure, axes = plt.subplots(
            1, len(filled), figsize=(width, height), sharey=draw_one is _bars, squeeze=False, layout="constrained"
        )
        if draw_one is _bars:
            axes[0][0].set_yticks(range(len(shown)), labels)
            axes[0][0].set_ylim(len(shown) - 0.4, -0.6)
        for axis, (column, rows) in zip(axes[0], filled.items(), strict=True):
            draw_one(axis, sweep, [rows[name] if _finished(rows, name) else None for name in shown])
            axis.set_title(column)
            axis.spines[["top", "right"]].set_visible(False)
        figure.suptitle(textwrap.fill(f"{sweep.title}, {encoder}", round(12 * width)))
        name = sweep.name if len(sweep.encoders) == 1 else f"{sweep.name}-{slug(encoder)}"
        for ending in ("png", "svg"):
            path = folder / f"{name}.{ending}"
            figure.savefig(path, dpi=150, metadata={"Date": None} if ending == "svg" else {})
            files.append(path)
        plt.close(figure)
    return files


def _finished(rows: dict[str, Cell], name: str) -> bool:
    return name in rows and bool(rows[name].seeds)


def _bars(axis: Any, sweep: Sweep, cells: list[Cell | None]) -> None:
    """A bar per finished method: mean test F1, its 95 % interval over posts and seeds, and a dot per seed."""
    for place, cell in enumerate(cells):
        score = cell.score("f1") if cell else None
        if cell is None or score is None:
            continue
        mean, (low, high) = 100 * score[0], (100 * end for end in cell.interval())
        error = [[max(0.0, mean - low)], [max(0.0, high - mean)]]
        colour = COLOURS[0] if cell.row.view == "prompt" else COLOURS[5]
        axis.barh(place, mean, color=colour, alpha=0.75, xerr=error, error_kw={"capsize": 3, "ecolor": "#222222"})
        seeds = 100 * cell.runs[cell.score_name("f1")]
        axis.plot(seeds, [place] * len(seeds), "o", color="white", markeredgecolor="#222222", markersize=4)
    lowest = min(100 * cell.interval()[0] for cell in cells if cell)
    axis.set_xlim(max(0.0, lowest - 3), None)
    axis.set_xlabel("test F1, axis cut\n(blue: text only, grey: reads knowledge)")


def _lines(axis: Any, sweep: Sweep, cells: list[Cell | None]) -> None:
    """Mean test F1 over an axis of `each`, a line per value of another, with 95 % intervals side by side."""
    along, by = sweep.figure["x"], sweep.figure.get("lines", "")
    groups: dict[str, list[Cell]] = {}
    finished = [cell for cell in cells if cell]
    for cell in finished:
        if along in cell.row.point:
            label = f"{cell.row.point[by]} {sweep.figure.get('label', by)}" if by in cell.row.point else "all"
            groups.setdefault(label, []).append(cell)
    values = sorted({cell.row.point[along] for members in groups.values() for cell in members})
    for index, (label, members) in enumerate(groups.items()):
        members = sorted(members, key=lambda cell: cell.row.point[along])
        shift = 0.08 * (index - (len(groups) - 1) / 2)
        places = [values.index(cell.row.point[along]) + shift for cell in members]
        means = [100 * score[0] for cell in members if (score := cell.score("f1"))]
        ends = [[100 * end for end in cell.interval()] for cell in members]
        error = [
            [max(0.0, mean - low) for mean, (low, _) in zip(means, ends, strict=True)],
            [max(0.0, high - mean) for mean, (_, high) in zip(means, ends, strict=True)],
        ]
        colour = COLOURS[index % len(COLOURS)]
        axis.errorbar(places, means, error, fmt="o-", color=colour, label=label, markersize=4, capsize=2, elinewidth=1)
    for cell in finished:
        score = cell.score("f1")
        if score and not cell.row.point:
            axis.axhline(100 * score[0], linestyle="--", linewidth=1, color="#444444")
            axis.annotate(
                cell.row.name, (1, 100 * score[0]), xycoords=("axes fraction", "data"), ha="right", va="bottom"
            )
    axis.set_xticks(range(len(values)), [str(value) for value in values])
    axis.set_xlim(-0.5, len(values) - 0.5)
    axis.set_xlabel(along)
    axis.set_ylabel("test F1")
    if len(groups) > 1:
        axis.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
