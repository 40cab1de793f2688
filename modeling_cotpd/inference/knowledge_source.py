"""Where the knowledge of a single post comes from when a user gives a picture or nothing: captioner and model."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from modeling_cotpd.data.posts import Post
from modeling_cotpd.errors import KnowledgeError, SettingError
from modeling_cotpd.knowledge.explanation import GRAINS, ElicitationPlan, elicit_posts
from modeling_cotpd.knowledge.images import ImageProblem, load_image, require_pillow
from modeling_cotpd.knowledge.runner import Asking

if TYPE_CHECKING:
    from PIL import Image


class KnowledgeSource:
    """A captioner, a language model, both or neither, asked about one post at a time.

    Args:
        captioner (`Callable`, *optional*): Takes an RGB picture, returns its caption or an `ImageProblem`:
            `caption_image` with its other arguments bound, or a local model as `one_by_one` wraps it.
        plan (`ElicitationPlan`, *optional*): Which model explains posts, and with which prompts.
        store (`str` or `os.PathLike`, *optional*, defaults to `"answers.sqlite"`): Where the teacher's answers are
            kept; an answer that is there is not asked for again.

    Raises:
        SettingError: The plan shows pictures to the model; here it reads captions.

    Example:

    ```python
    >>> from functools import partial
    >>> from modeling_cotpd.knowledge.captions import caption_image
    >>> settings = EndpointSettings("Qwen/Qwen2.5-VL-3B-Instruct", "http://127.0.0.1:8000/v1")  # doctest: +SKIP
    >>> prompt = load_prompts()["caption"]  # doctest: +SKIP
    >>> ask = partial(caption_image, settings=settings, prompt=prompt, store="answers.sqlite")  # doctest: +SKIP
    >>> source = KnowledgeSource(captioner=ask)  # doctest: +SKIP
    ```
    """

    def __init__(
        self,
        captioner: Callable[["Image.Image"], str | ImageProblem] | None = None,
        plan: ElicitationPlan | None = None,
        store: str | os.PathLike = "answers.sqlite",
    ):
        if plan is not None and plan.image_folder is not None:
            raise SettingError("The teacher of a single post reads captions.", place="plan", fix="Leave images out.")
        self.captioner, self.plan, self.store = captioner, plan, Path(store)

    def caption(self, image: "str | os.PathLike | Image.Image") -> str:
        """The caption of a picture."""
        if self.captioner is None:
            fix = "Give caption=..., or configure a captioner."
            raise SettingError("A picture is read as words, and there is no captioner to find them.", fix=fix)
        require_pillow()
        picture = load_image(Path(image)) if isinstance(image, str | os.PathLike) else image.convert("RGB")
        answer = self.captioner(picture)
        if isinstance(answer, ImageProblem):
            raise KnowledgeError(f"The picture got no caption ({answer.reason}: {answer.detail}).")
        return answer

    def explain(self, text: str, caption: str) -> tuple[dict[str, str], list[str]]:
        """What the teacher says about a post.

        Returns:
            Knowledge column to text, and a sentence for every grain that has no real answer.
        """
        if self.plan is None:
            raise SettingError("There is no teacher to ask.", fix="Give knowledge=..., or configure a teacher.")
        post = Post("post", text, columns={"caption": caption})
        (explanation,) = elicit_posts([post], self.plan, self.store, Asking(concurrency=1))
        known = {column: text for column, text in explanation.columns(keep_cut=True).items() if text}
        problems = [
            f"The teacher gave no {grain} explanation ({answer.status}): {answer.reason}."
            for grain, answer in explanation.problems(keep_cut=True).items()
        ]
        return known, problems


def one_by_one(captioner) -> Callable[["Image.Image"], str | ImageProblem]:
    """A `TransformersCaptioner`, which captions batches, as a captioner of single pictures."""
    return lambda image: captioner.caption([image])[0]


def knowledge_columns_of(knowledge: Mapping[str, str] | str | None) -> dict[str, str]:
    """Knowledge as a user gives it, by the names of the record's columns.

    Args:
        knowledge (`Mapping[str, str]` or `str`, *optional*): Texts under `noun`, `sentence`, `multimodality` (or
            `cot_noun`, ...), or one text, which counts as the explanation of the sentence.
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
