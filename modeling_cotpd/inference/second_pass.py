"""The second pass of `cotpd predict` with knowledge on demand: choose among all posts, ask, read again."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from modeling_cotpd.data.posts import Post, PostFile
from modeling_cotpd.inference.on_demand import KnowledgeOnDemand, as_asked, has_knowledge
from modeling_cotpd.inference.predictor import Progress
from modeling_cotpd.inference.run import all_posts, chunks, part_path, probable, read_part, write_part
from modeling_cotpd.knowledge.explanation import ElicitationPlan, estimate_posts
from modeling_cotpd.knowledge.runner import Asking

KNOWN = "has_knowledge"


class DryRun(Exception):
    """Ends a run before anything is sent."""


class SecondPass:
    """Ranks the posts of a whole run by uncertainty, and reads again those that are worth it.

    Args:
        demand (`KnowledgeOnDemand`): Chooses and reads.
        plan (`ElicitationPlan`), store (`Path`), asking (`Asking`): Whom, what and how to ask.
        files (`Sequence[PostFile]`), task (`str`), output (`Path`), text_column (`str`), min_score
            (`float`): Those of the first pass.
        dry_run (`bool`): Estimate the cost and stop.
    """

    def __init__(
        self,
        demand: KnowledgeOnDemand,
        plan: ElicitationPlan,
        store: Path,
        asking: Asking,
        files: Sequence[PostFile],
        task: str,
        output: Path,
        text_column: str,
        min_score: float,
        dry_run: bool,
    ):
        self.demand, self.plan, self.store, self.asking = demand, plan, store, asking
        self.files, self.task, self.output, self.text_column = files, task, output, text_column
        self.min_score, self.dry_run = min_score, dry_run
        self.counts: Counter = Counter()
        self.lines: list[str] = []

    def first(self, posts: Sequence[Post], on_progress: Progress | None = None) -> list[dict]:
        """What the first pass writes: text-only predictions with their uncertainty."""
        rows = self.demand.student(posts, uncertainty=True, on_progress=on_progress)
        return [{**row, KNOWN: has_knowledge(post)} for post, row in zip(posts, rows, strict=True)]

    def __call__(self, sizes: list[int]) -> None:
        """Rewrite the chunks.

        Raises:
            DryRun: After the estimate.
            KeyboardInterrupt: The run was interrupted while asking; finished chunks are kept.
        """
        uncertainty = np.array([u for number in range(len(sizes)) for u in self._uncertainty(number)])
        chosen = self.demand.choose_among(uncertainty)
        if self.dry_run:
            asked = (post for post, ask in zip(self._posts(), chosen, strict=True) if ask)
            self.lines = [f"posts to ask about: {int(chosen.sum()):,} of {len(chosen):,}"]
            self.lines += estimate_posts(as_asked(asked), self.plan, self.store, self.asking.again).lines(
                self.asking.price
            )
            raise DryRun
        begin = 0
        for number, posts in enumerate(chunks(self._posts())):
            path, rows = part_path(self.output, number), read_part(part_path(self.output, number))
            if rows and "view" not in rows[0]:
                plain = [{name: value for name, value in row.items() if name != KNOWN} for row in rows]
                rows = self.demand.read_again(posts, plain, chosen[begin : begin + len(posts)])
                rows = [probable(row, self.min_score) for row in rows]
                if self.asking.progress.stopped:
                    raise KeyboardInterrupt
                write_part(path, rows)
            begin += len(posts)
            self.counts.update("unexplained" if "unexplained" in row else row["view"] for row in rows)

    def report(self) -> list[str]:
        """What was asked and read, in words."""
        if self.lines:
            return self.lines
        lines = [f"read with knowledge: {self.counts['knowledge']:,}; text alone: {self.counts['prompt']:,}"]
        if self.counts["unexplained"]:
            lines.append(f"without an explanation, so text alone: {self.counts['unexplained']:,} (see unexplained)")
        return lines

    def _posts(self) -> Iterator[Post]:
        return all_posts(self.files, self.task, self.text_column)

    def _uncertainty(self, number: int) -> list[float]:
        """Of one chunk; negative for posts that need no answer."""
        rows = read_part(part_path(self.output, number))
        known = [row.get(KNOWN) or (row.get("view") == "knowledge" and not row["asked"]) for row in rows]
        return [-1.0 if skip else row["uncertainty"] for skip, row in zip(known, rows, strict=True)]
