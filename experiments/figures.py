"""A figure of a sweep: test F1 over one axis of its rows, a line per value of `line`."""

from pathlib import Path

import numpy as np

from experiments.plan import digest
from experiments.scores import Cell, Scores
from modeling_cotpd.errors import SettingError

COLOURS = ("#3b6fb6", "#d9822b", "#3a9a5b", "#b8433e", "#7a5aa6", "#6b6b6b", "#b59b1f")
MARKERS = "os^Dv*P"
Point = tuple[float, float, float, float]


def points(scores: Scores) -> dict[str, dict[str, list[Point]]]:
    """Per data set and line: x, mean test F1 and its 95 % interval over posts and seeds, in percent."""
    sweep = scores.plan.sweep
    found: dict[str, dict[str, list[Point]]] = {}
    for encoder in sweep.encoders:
        for column in sweep.columns:
            lines: dict[str, list[Point]] = {}
            for cell in scores.finished(column, encoder):
                if cell.row.line and (score := cell.score()):
                    low, high = cell.interval()
                    point = (_x(cell, sweep.figure["x"]), 100 * score[0], 100 * low, 100 * high)
                    lines.setdefault(cell.row.line, []).append(point)
            if lines:
                title = f"{column}, {encoder}, read on {sweep.reading}"
                found[title] = {line: sorted(each) for line, each in lines.items()}
    return found


def _x(cell: Cell, name: str) -> float:
    """A row's place on the axis: its point of `each`, or a number of the run, such as `explained`."""
    if name in cell.row.point:
        return float(cell.row.point[name])
    line = cell.runs.iloc[0]
    known = {"labelled": line["labelled_rows"], "explained": line["train_rows"] - line["labelled_rows"]}
    if name not in known:
        raise SettingError(f"Row {cell.row.name!r} has no {name!r}.", place="figure, x")
    return float(known[name])


def fingerprint(scores: Scores) -> str:
    """Hash of the numbers that the figure shows, which the SVG carries."""
    return digest(
        {
            title: {line: [[round(value, 1) for value in point] for point in each] for line, each in lines.items()}
            for title, lines in points(scores).items()
        }
    )


def draw(scores: Scores, folder: Path) -> Path | None:
    """Draw the figure that a sweep declares as SVG; `None` where it declares none, or no row of it has runs."""
    sweep, found = scores.plan.sweep, points(scores) if scores.plan.sweep.figure else {}
    if not found:
        return None
    try:
        import matplotlib
    except ImportError as error:
        raise SettingError("Figures need matplotlib.", fix="pip install 'modeling_cotpd[experiments]'") from error
    matplotlib.use("Agg")
    # text stays text in the SVG, and two drawings of the same runs are the same file
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "cotpd", "font.size": 9})
    import matplotlib.pyplot as plt

    names = list(dict.fromkeys(line for lines in found.values() for line in lines))
    size = (4.2 * len(found) + 1.6, 3.6)
    figure, axes = plt.subplots(1, len(found), figsize=size, squeeze=False, layout="constrained")
    handles = {}
    for axis, (title, lines) in zip(axes[0], found.items(), strict=True):
        values = sorted({point[0] for each in lines.values() for point in each})
        log = values[0] > 0 and values[-1] > 8 * values[0]
        for number, name in enumerate(names):
            if name not in lines:
                continue
            x, means, lows, highs = np.array(lines[name]).T
            spread = np.maximum([means - lows, highs - means], 0.0)
            shift = number - (len(names) - 1) / 2  # so that the bars of two lines stand side by side
            places = x * 1.02**shift if log else x + 0.006 * values[-1] * shift
            handles[name] = axis.errorbar(
                places, means, spread, label=name, color=COLOURS[number % len(COLOURS)], linewidth=1.3, capsize=2,
                marker=MARKERS[number % len(MARKERS)], markersize=4, elinewidth=0.8,
            )  # fmt: skip
        axis.set_xscale("log" if log else "linear")
        axis.set_xticks(values, [f"{value:,g}" for value in values])
        axis.minorticks_off()
        axis.set(xlabel=sweep.figure.get("label", sweep.figure["x"]), title=title.replace(", read", "\nread"))
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", linewidth=0.4)
    axes[0][0].set_ylabel("test F1")
    figure.legend(handles.values(), handles.keys(), loc="outside right upper", frameon=False)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{sweep.name}.svg"
    figure.savefig(path, metadata={"Date": None, "Description": fingerprint(scores)})
    plt.close(figure)
    return path
