"""The progress bar of a run: posts done, rate, time left, tokens, cost, failures."""

import sys
from types import TracebackType

from tqdm import tqdm

from modeling_cotpd.knowledge.answer import FAILED
from modeling_cotpd.knowledge.estimate import Price
from modeling_cotpd.knowledge.runner import Progress


class ProgressBar:
    """A tqdm bar over jobs; pass its `update` as the runner's `on_change`.

    Args:
        total (`int`): Number of jobs.
        unit (`str`): What a job is called.
        price (`Price`, *optional*): Shows the cost so far.
    """

    def __init__(self, total: int, unit: str, price: Price | None):
        self._bar = tqdm(total=total, unit=f" {unit}", file=sys.stderr, dynamic_ncols=True, mininterval=0.5)
        self._price = price

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._bar.close()

    def update(self, progress: Progress) -> None:
        """Show where a run stands."""
        asked = progress.asked.total()
        if asked % 16 == 0 or progress.jobs == self._bar.total:
            elapsed = self._bar.format_dict["elapsed"]
            shown = {
                "asked": f"{asked:,}",
                "req/s": f"{asked / max(elapsed, 1e-9):.1f}",
                "tokens": f"{progress.prompt_tokens:,}+{progress.completion_tokens:,}",
            }
            if self._price is not None:
                shown["cost"] = f"${self._price.cost(progress.prompt_tokens, progress.completion_tokens):.2f}"
            if progress.asked[FAILED]:
                shown["failed"] = f"{progress.asked[FAILED]:,}"
            self._bar.set_postfix(shown, refresh=False)
        self._bar.update(progress.jobs - self._bar.n)
