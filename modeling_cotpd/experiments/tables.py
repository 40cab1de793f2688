"""Markdown tables: methods as rows and data sets as columns, then the details of every data set."""

import itertools
import math
from collections.abc import Sequence

from modeling_cotpd.experiments.exposure import PLACES
from modeling_cotpd.experiments.scores import Cell, Scores
from modeling_cotpd.experiments.statistics import RESAMPLES, Retention
from modeling_cotpd.experiments.sweep import Row, Sweep

EMPTY = "–"


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table; the first two columns are text, the others numbers."""
    rule = ["---" if index < 2 else "---:" for index in range(len(head))]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in (head, rule, *rows)]


def percent(score: tuple[float, float | None] | None) -> str:
    """`80.12 ± 0.45`, in percent."""
    if score is None:
        return EMPTY
    mean, deviation = score
    return f"{100 * mean:.2f}" + ("" if deviation is None else f" ± {100 * deviation:.2f}")


def spoken_retention(found: Retention | None) -> str:
    """`0.41 [0.12, 0.80]`; an unbounded interval is named as such."""
    if found is None or math.isnan(found.value):
        return EMPTY
    if math.isinf(found.low):
        return f"{found.value:.2f} [unbounded]"
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def summary(scores: Scores, encoder: str) -> list[str]:
    """The table as the paper lays it out: test F1 per data set, with the published score beside it where given."""
    sweep = scores.plan.sweep
    published = {name for row in sweep.rows for name in row.published}
    head = ["Method", "Reads at test time"]
    for column in sweep.columns:
        head += [column, *(["published"] if column in published else [])]
    lines = []
    for row in sweep.rows:
        if not any(_finished(scores, encoder, column, row) for column in sweep.columns):
            continue
        line = [row.name, "text" if row.view == "prompt" else "text and knowledge columns"]
        for column in sweep.columns:
            if row.columns and column not in row.columns:
                line += ["", *([""] if column in published else [])]
                continue
            cell = scores.cell(column, encoder, row.name)
            line.append(f"{percent(cell.score('f1'))} ({len(cell.seeds)})" if cell.seeds else EMPTY)
            if column in published:
                line.append(f"{row.published[column]:.2f}" if column in row.published else EMPTY)
        lines.append(line)
    return markdown_table(head, lines)


def details(scores: Scores, encoder: str, column: str) -> list[str]:
    """Precision, recall, F1 of one data set, with the difference to the baseline and retention."""
    sweep = scores.plan.sweep
    rows = sweep.rows_of(column)
    named = {row.name: scores.cell(column, encoder, row.name) for row in rows}
    mre = sweep.columns[column].task == "mre"
    other = ("accuracy", "accuracy") if mre else ("strict_f1", "F1 strict")
    if sweep.reading == "strict" and not mre:
        other = ("f1", "F1 lenient")
    with_r = sweep.caption_row in named and sweep.knowledge_row in named
    head = ["Method", "View", "Seeds", "Valid F1", "Test P", "Test R", "Test F1", other[1]]
    head += [f"Δ F1 to {sweep.baseline} [95 %]", "p"] + (["R [95 %]"] if with_r else [])
    lines = []
    for row in rows:
        if not _finished(scores, encoder, column, row):
            continue
        cell = named[row.name]
        seeds = f"{len(cell.seeds)} of {len(sweep.seeds)}"
        line = [row.name, row.view, seeds, percent(cell.score("f1", "validation"))]
        line += [percent(cell.score(name)) for name in ("precision", "recall", "f1")]
        line.append(percent(_plain(cell, other[0])))
        line += _difference(cell, named.get(sweep.baseline), row.name == sweep.baseline)
        if with_r:
            found = cell.retention(named[sweep.caption_row], named[sweep.knowledge_row])
            line.append(spoken_retention(found) if row.view == "prompt" else "")
        lines.append(line)
    return markdown_table(head, lines)


def controls(scores: Scores, encoder: str, column: str) -> list[str]:
    """The differences of one data set's rows to their controls; nothing where no such pair is finished."""
    sweep, lines = scores.plan.sweep, []
    for row in sweep.rows_of(column):
        pair = (row, sweep.row(row.control)) if row.control else ()
        if pair and all(_finished(scores, encoder, column, one) for one in pair):
            cell, control = (scores.cell(column, encoder, one.name) for one in pair)
            lines.append([row.name, row.control, *_difference(cell, control, itself=False)])
    return markdown_table(["Method", "Control", "Δ F1 to its control [95 %]", "p"], lines) if lines else []


def exposure(scores: Scores, encoder: str, column: str) -> list[str]:
    """Test F1 of one data set, divided by where a name stands in training; nothing where that is not saved."""
    cells = [scores.cell(column, encoder, row.name) for row in scores.plan.sweep.rows_of(column)]
    cells = [cell for cell in cells if cell.places]
    if not cells:
        return []
    gold = {place: cells[0].places[place][0, 2] for place in PLACES}
    head = ["Method", "View", *(f"{spoken} ({gold[place]} names)" for place, spoken in PLACES.items())]
    lines = [[cell.row.name, cell.row.view, *(percent(cell.place_score(place)) for place in PLACES)] for cell in cells]
    return markdown_table(head, lines)


def _finished(scores: Scores, encoder: str, column: str, row: Row) -> bool:
    """Whether a row of a column has a finished run."""
    return row in scores.plan.sweep.rows_of(column) and bool(scores.cell(column, encoder, row.name).seeds)


def not_run(scores: Scores) -> list[str]:
    """A line per encoder and column that names the rows without a finished run."""
    sweep, lines = scores.plan.sweep, []
    for encoder, column in itertools.product(sweep.encoders, sweep.columns):
        rows = sweep.rows_of(column)
        missing = [row.name for row in rows if not _finished(scores, encoder, column, row)]
        if missing:
            named = "nothing" if len(missing) == len(rows) else f"all but {'; '.join(missing)}"
            lines.append(f"Run so far on {column}, {encoder}: {named}.")
    return lines


def _plain(cell: Cell, name: str) -> tuple[float, float | None] | None:
    """A score under its own name, whatever the sweep's reading."""
    return Cell(cell.row, cell.runs, cell.validation, cell.counts, "lenient").score(name)


def _difference(cell: Cell, baseline: Cell | None, itself: bool) -> list[str]:
    if itself:
        return ["", ""]
    found = cell.difference(baseline) if baseline is not None else None
    if found is None:
        return [EMPTY, EMPTY]
    result, seeds = found
    few = f" ({seeds} seeds)" if seeds < max(len(cell.seeds), len(baseline.seeds if baseline else ())) else ""
    shown = f"{100 * result.difference:+.2f} [{100 * result.low:+.2f}, {100 * result.high:+.2f}]{few}"
    return [shown, f"{result.p_value:.3f}" if result.p_value >= 0.001 else "< 0.001"]


def facts(scores: Scores, encoder: str, column: str) -> str:
    """One line on what a column's first finished row was trained on and scored: rows, knowledge, gold hash."""
    cells = (scores.cell(column, encoder, row.name) for row in scores.plan.sweep.rows_of(column))
    line = next(cell.runs.iloc[0] for cell in cells if cell.seeds)
    trained = f"{line['train_rows']} training posts" if line["train_rows"] else "model of another column"
    return (
        f"{line['dataset']}: {trained}, {line['rows']} test rows, gold hash {line['gold_hash'][:12]}; "
        f"captions {line['captioner'] or 'none'}; knowledge: {line['knowledge'] or 'none'}."
    )


def notes(sweep: Sweep) -> list[str]:
    """How to read the numbers."""
    reading = {
        "lenient": "micro F1 of entities under the lenient reading (conlleval, seqeval's default); strict is IOB2",
        "strict": "micro F1 of entities under the strict reading (IOB2)",
    }[sweep.reading]
    mre = ", for relations micro F1 without None" if any(c.task == "mre" for c in sweep.columns.values()) else ""
    lines = [
        f"F1 is {reading}{mre}; in percent, mean ± standard deviation over seeds (number of seeds). The best epoch is "
        "chosen on the validation split.",
        f"Δ: paired bootstrap over test posts ({RESAMPLES:,} resamples) of F1 pooled over the seeds that both rows "
        "have; it speaks of the choice of posts, the standard deviation speaks of the seeds.",
    ]
    if sweep.caption_row and sweep.knowledge_row:
        lines.append(
            f"R, retention: (F1 text only view - F1 of {sweep.caption_row}) / (F1 of {sweep.knowledge_row} - F1 of "
            f"{sweep.caption_row}), with a bootstrap interval over posts and seeds; *unbounded* where the denominator "
            "is not clear of zero."
        )
    if sweep.exposure:
        lines.append(
            "By where a name stands in training: gold and predicted entities whose words stand, in any case and as an "
            "entity or not, in a labelled post; only in another of the data set's training posts; or in none of them."
        )
    if sweep.published_source:
        lines.append(f"Published: {sweep.published_source}")
    return lines + [f"{row.name}: {row.note}" for row in sweep.rows if row.note]


def render(scores: Scores, summary_only: bool = False) -> str:
    """The Markdown of a sweep, ending in a newline; with `summary_only` its first table alone."""
    sweep = scores.plan.sweep
    blocks: list[list[str]] = [] if summary_only else [[f"## {sweep.title}"]]
    if sweep.note and not summary_only:
        blocks.append([sweep.note])
    for encoder in sweep.encoders:
        done = [name for name in sweep.columns if any(_finished(scores, encoder, name, row) for row in sweep.rows)]
        if not done:
            continue
        if len(sweep.encoders) > 1 or not summary_only:
            blocks.append([f"### {encoder}" if not summary_only else f"**{encoder}**"])
        blocks.append(summary(scores, encoder))
        for column in () if summary_only else done:
            blocks += [[f"#### {column}, {encoder}"], [facts(scores, encoder, column)]]
            blocks.append(details(scores, encoder, column))
            compared = controls(scores, encoder, column)
            blocks += [["Against a control that lacks one thing:"], compared] if compared else []
            divided = exposure(scores, encoder, column) if sweep.exposure else []
            blocks += [["Test F1, by where a name stands in training:"], divided] if divided else []
    if not summary_only:
        blocks.append([f"- {line}" for line in [*notes(sweep), *not_run(scores)]])
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"
