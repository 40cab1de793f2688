"""Where the knowledge of a single post comes from when a user gives a picture or nothing: captioner and teacher."""

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from modeling_cotpd.errors import KnowledgeError, SettingError
from modeling_cotpd.knowledge.answer import ANSWERED, CUT, SKIPPED
from modeling_cotpd.knowledge.explanation import GRAINS, Plan, explain
from modeling_cotpd.knowledge.images import ImageProblem, load_image, require_pillow
from modeling_cotpd.knowledge.job import Job, walk
from modeling_cotpd.knowledge.post import Post as TeacherPost
from modeling_cotpd.knowledge.runner import run_jobs
from modeling_cotpd.knowledge.store import ResponseStore

if TYPE_CHECKING:
    from PIL import Image


class KnowledgeSource:
    """A captioner, a teacher, both or neither, asked about one post at a time.

    Args:
        captioner (`Callable`, *optional*): Takes an RGB picture, gives its caption or an `ImageProblem`:
            `EndpointCaptioner(...).caption`, or a local model as `one_by_one` wraps it.
        plan (`Plan`, *optional*): Whom to ask for explanations, and with which prompts.
        store (`str` or `os.PathLike`, *optional*, defaults to `"answers.sqlite"`): Where the teacher's answers are
            kept; an answer that is there is not asked for again.

    Raises:
        SettingError: The plan shows pictures to the teacher; here it reads captions.

    Example:

    ```python
    >>> from modeling_cotpd.knowledge.caption_endpoint import EndpointCaptioner
    >>> asker = EndpointCaptioner("Qwen/Qwen2.5-VL-3B-Instruct", "http://127.0.0.1:8000/v1")  # doctest: +SKIP
    >>> source = KnowledgeSource(captioner=asker.caption)  # doctest: +SKIP
    ```
    """

    def __init__(
        self,
        captioner: Callable[["Image.Image"], str | ImageProblem] | None = None,
        plan: Plan | None = None,
        store: str | os.PathLike = "answers.sqlite",
    ):
        if plan is not None and plan.image_folder is not None:
            raise SettingError("The teacher of a single post reads captions.", place="plan", fix="Leave images out.")
        self.captioner, self.plan, self.store = captioner, plan, Path(store)

    def caption(self, image: "str | os.PathLike | Image.Image") -> str:
        """The caption of a picture.

        Raises:
            SettingError: No captioner is configured.
            KnowledgeError: The picture can not be read, or has no caption; the message says why.
        """
        if self.captioner is None:
            raise SettingError(
                "A picture is read as words, and there is no captioner to find them.",
                fix="Give caption=..., or configure a captioner.",
            )
        require_pillow()
        picture = load_image(Path(image)) if isinstance(image, str | os.PathLike) else image.convert("RGB")
        answer = self.captioner(picture)
        if isinstance(answer, ImageProblem):
            raise KnowledgeError(f"The picture got no caption ({answer.reason}: {answer.detail}).")
        return answer

    def explain(self, text: str, caption: str) -> tuple[dict[str, str], list[str]]:
        """What the teacher says about a post.

        Args:
            text (`str`): The post.
            caption (`str`): Its picture in words; empty without a picture.

        Returns:
            Knowledge column to text, and a sentence for every grain that has no real answer.

        Raises:
            SettingError: No teacher is configured.
            KnowledgeError: The endpoint declines whatever it is asked.
        """
        if self.plan is None:
            raise SettingError("There is no teacher to ask.", fix="Give knowledge=..., or configure a teacher.")
        # A thread of its own: in a notebook or a web server this one may have a running event loop
        with ThreadPoolExecutor(1) as thread:
            answers = thread.submit(self._ask, TeacherPost("post", text, caption), self.plan).result()
        known, problems = {}, []
        for grain, answer in answers.items():
            if answer.status in (ANSWERED, CUT):
                known[f"cot_{grain}"] = answer.text.strip()
            elif answer.status != SKIPPED:
                problems.append(f"The teacher gave no {grain} explanation ({answer.status}): {answer.reason}.")
        return known, problems

    def _ask(self, post: TeacherPost, plan: Plan) -> dict:
        with ResponseStore(self.store) as store:
            run_jobs([Job(post.id, partial(explain, post, plan))], plan.settings, store, concurrency=1)
            return walk(explain(post, plan), lambda request: store.get(request.key))


def one_by_one(captioner) -> Callable[["Image.Image"], str | ImageProblem]:
    """A `TransformersCaptioner`, which captions batches, as a captioner of single pictures."""
    return lambda image: captioner.caption([image])[0]


def knowledge_columns_of(knowledge: Mapping[str, str] | str | None) -> dict[str, str]:
    """Knowledge as a user gives it, by the names of the record's columns.

    Args:
        knowledge (`Mapping[str, str]` or `str`, *optional*): Texts under `noun`, `sentence`, `multimodality` (or
            `cot_noun`, ...), or one text, which counts as the explanation of the sentence.

    Raises:
        SettingError: A name is unknown or a text is no string.
    """
    if knowledge is None:
        return {}
    given = {"sentence": knowledge} if isinstance(knowledge, str) else dict(knowledge)
    columns = {}
    for name, text in given.items():
        grain = str(name).removeprefix("cot_")
        if grain not in GRAINS:
            raise SettingError(f"There is no knowledge called {name!r}.", fix=f"Use {', '.join(GRAINS)}.")
        if not isinstance(text, str):
            raise SettingError(f"The knowledge {name!r} is a {type(text).__name__}, not a string.", fix="Quote it.")
        columns[f"cot_{grain}"] = text
    return {name: text for name, text in columns.items() if text.strip()}
