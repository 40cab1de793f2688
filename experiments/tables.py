"""Markdown tables of a sweep: a summary, a table as the paper lays it out, and the details of every data set."""

import math
from collections.abc import Sequence

from experiments.scores import Cell, Retention, Score, Scores
from experiments.store import PLACES

NOTHING = "No runs are saved yet."


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table without its empty columns; the first column is text, the others are numbers."""
    kept = [index for index in range(len(head)) if index == 0 or any(line[index] for line in rows)]
    lines = [[line[index].replace("|", "\\|") for index in kept] for line in (head, *rows)]
    lines.insert(1, ["---" if index == 0 else "---:" for index in kept])
    return [f"|{'|'.join(line)}|" for line in lines]


def percent(score: Score | None, seeds: int = 0) -> str:
    """`80.1±0.5`, in percent; with the number of seeds behind it where it is given."""
    if score is None:
        return ""
    mean, deviation = score
    spread = f"±{100 * deviation:.1f}" if deviation is not None else ""
    return f"{100 * mean:.1f}{spread}" + f" ({seeds})" * (seeds > 0)


def delta(cell: Cell, other: Cell | None) -> str:
    """`+2.6 [1.5, 3.7]`: the difference to another cell with its 95 % interval, in points."""
    found = cell.difference(other) if other is not None and other is not cell else None
    if found is None:
        return ""
    result, seeds = found
    few = f" ({seeds})" if seeds < len(cell.counts) else ""
    return f"{100 * result.difference:+.1f} [{100 * result.low:.1f}, {100 * result.high:.1f}]{few}"


def kept(found: Retention | None) -> str:
    """`0.41 [0.12, 0.80]`; an unbounded interval is named as such."""
    if found is None or math.isnan(found.value):
        return ""
    bounds = "unbounded" if math.isinf(found.low) else f"{found.low:.2f}, {found.high:.2f}"
    return f"{found.value:.2f} [{bounds}]"


def summary(scores: Scores, encoder: str, rows: Sequence[str], paper: bool = False) -> list[str]:
    """Test F1 of rows on all data sets with the difference to the baseline; in `paper` beside published scores."""
    sweep = scores.plan.sweep
    published = [name for row in sweep.rows for name in row.published if paper]
    columns = list(dict.fromkeys([*sweep.columns, *published]))
    head, lines = ["Row"], []
    for column in columns:
        head += [f"{column}, paper", f"{column}, here", f"Δ {column}"] if paper else [column, f"Δ {column}"]
    for name in rows:
        row, line = sweep.row(name), [name]
        for column in columns:
            line += [f"{row.published[column]:.2f}" if column in row.published else ""] if paper else []
            if column not in sweep.columns or row not in sweep.rows_of(column):
                line += ["", ""]
                continue
            cell = scores.cell(column, encoder, name)
            baseline = scores.cell(column, encoder, row.baseline) if row.baseline else None
            line += [percent(cell.score(), len(cell.counts)), delta(cell, baseline)]
        if any(line[1:]):
            lines.append(line)
    return markdown_table(head, lines)


def details(scores: Scores, encoder: str, column: str) -> list[str]:
    """Everything on one data set: F1, differences, retention against both denominators, F1 by exposure."""
    sweep, lines = scores.plan.sweep, []
    cells = scores.finished(column, encoder)
    other = ("accuracy", "accuracy") if sweep.columns[column].task == "mre" else ("strict_f1", "strict F1")
    places = [cell.places for cell in cells if cell.places and sweep.exposure]
    names = {place: f"{heading} ({places[0][place][0, 2]})" for place, heading in PLACES.items() if places}
    head = ["Row", "valid F1", "test F1", other[1], "Δ baseline", "R, [x; I]", "R, text", "Δ control", *names.values()]
    for cell in cells:
        row = cell.row
        references = (row.baseline, row.caption, row.knowledge, row.control)
        baseline, caption, knowledge, control = (
            scores.cell(column, encoder, name) if name else None for name in references
        )
        shares = ["", ""]
        if row.view == "prompt" and cell is not baseline and knowledge is not None:
            shares = [kept(cell.retention(one, knowledge)) if one else "" for one in (caption, baseline)]
        line = [row.name, percent(cell.score("f1", "validation")), percent(cell.score(), len(cell.counts))]
        line += [percent(cell.score(other[0])), delta(cell, baseline), *shares, delta(cell, control)]
        lines.append(line + [percent(cell.place_score(place)) for place in names])
    return markdown_table(head, lines)


def facts(scores: Scores, encoder: str, column: str) -> str:
    """One line on a column's first finished row: reading, encoder, rows, knowledge, gold hash."""
    runs = next(cell.runs for cell in scores.finished(column, encoder) if len(cell.runs))
    line = runs[runs["split"] == "test"].iloc[0]
    trained = f"{line['labelled_rows']} labelled" if line["train_rows"] else "trained on the other data set"
    captions = f"captions {line['captioner']}" if line["captioner"] else "no captions"
    parts = [encoder, trained, f"{line['rows']} test rows", f"gold {line['gold_hash'][:12]}", captions]
    parts.append(line["knowledge"] or "no knowledge")
    return f"**{column}**: {', '.join(parts)}; read on {scores.plan.sweep.reading}."


def render(scores: Scores, kind: str = "details") -> str:
    """The Markdown of a sweep: `"details"`, `"summary"` (rows marked `main`) or `"paper"` (with published scores)."""
    sweep, blocks = scores.plan.sweep, []
    for encoder in sweep.encoders:
        done = [column for column in sweep.columns if scores.finished(column, encoder)]
        if not done and not (kind == "paper" and encoder == next(iter(sweep.encoders))):
            continue
        if kind == "details":
            for column in done:
                blocks += [[facts(scores, encoder, column)], details(scores, encoder, column)]
        else:
            main = any(row.main for row in sweep.rows) and kind == "summary"
            rows = [row.name for row in sweep.rows if row.main or not main]
            blocks += [[f"{encoder}, read on {sweep.reading}."], summary(scores, encoder, rows, kind == "paper")]
    if not blocks:
        return NOTHING + "\n"
    text = "\n\n".join("\n".join(block) for block in blocks)
    legend = [f"- {row.name}: {row.note}" for row in sweep.rows if row.note and f"\n|{row.name}|" in text]
    legend += [f"- Paper: {sweep.published_source}"] if kind == "paper" and sweep.published_source else []
    notes = [sweep.note if kind != "summary" else "", "\n".join(legend)]
    return "\n\n".join([text, *filter(None, notes)]) + "\n"
