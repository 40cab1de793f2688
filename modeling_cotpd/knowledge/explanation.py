"""The grains of knowledge about a post: which requests they take, in dialogue or independently."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from modeling_cotpd.errors import SettingError
from modeling_cotpd.knowledge.answer import FAILED, FINAL, SKIPPED, Answer
from modeling_cotpd.knowledge.images import ImageProblem, resolve_image
from modeling_cotpd.knowledge.job import Job, Talk
from modeling_cotpd.knowledge.post import Post
from modeling_cotpd.knowledge.prompt import Prompt
from modeling_cotpd.knowledge.request import Picture, Request
from modeling_cotpd.knowledge.teacher import TeacherSettings

GRAINS = ("noun", "sentence", "multimodality")
MODES = ("dialogue", "independent")
_MEDIA_TYPES = ((b"\xff\xd8\xff", "image/jpeg"), (b"\x89PNG\r\n\x1a\n", "image/png"), (b"GIF8", "image/gif"))


@dataclass(frozen=True)
class Plan:
    """What is asked about every post.

    The post opens the conversation as the first user message ("Text: ...", "Image: ...", then the question), and no
    system message is sent unless the user's prompts have one: the paper names none, several open models' chat
    templates refuse it, and a user message is understood by all. In dialogue mode the later questions follow alone,
    each after the teacher's own earlier answers; in independent mode every question brings the post along.

    Args:
        settings (`TeacherSettings`): Whom to ask.
        prompts (`dict[str, Prompt]`): From `load_prompts`.
        grains (`tuple[str, ...]`): Which grains, in the order in which they are asked.
        mode (`str`): `"dialogue"` (the paper) or `"independent"`.
        image_folder (`Path`, *optional*): Where pictures are, as `images.image_folder` gives it; when given, the
            teacher sees the picture itself instead of its caption, as vision models can.

    Raises:
        SettingError: A grain or the mode is unknown.
    """

    settings: TeacherSettings
    prompts: dict[str, Prompt]
    grains: tuple[str, ...] = GRAINS
    mode: str = "dialogue"
    image_folder: Path | None = None

    def __post_init__(self):
        if self.mode not in MODES:
            raise SettingError(f"{self.mode!r} is not a mode.", place="mode", fix=f"Use {' or '.join(MODES)}.")
        if unknown := [grain for grain in self.grains if grain not in GRAINS]:
            raise SettingError(f"{unknown[0]!r} is not a grain.", place="grains", fix=f"Use {', '.join(GRAINS)}.")
        if not self.grains or len(set(self.grains)) < len(self.grains):
            raise SettingError("Name every grain once, and at least one.", place="grains")

    @property
    def tags(self) -> dict[str, str]:
        """Per grain, the tags of all prompts that its first request is made of."""
        frame = [self.prompts[name].tag for name in ("system", "post") if name in self.prompts]
        return {grain: " ".join([*frame, self.prompts[grain].tag]) for grain in self.grains}

    def provenance(self) -> dict:
        """Teacher, mode and prompt versions, for `DatasetInfo.provenance`."""
        return {
            "teacher": self.settings.model,
            "mode": self.mode,
            "shown": "picture" if self.image_folder is not None else "caption",
            "prompts": self.tags,
        }

    def describe(self) -> str:
        """One line about the teacher, the mode and the prompts, for `DatasetInfo.knowledge`."""
        seen = "picture" if self.image_folder is not None else "caption"
        prompts = ", ".join(self.prompts[grain].tag for grain in self.grains)
        return f"{self.settings.model} at {self.settings.endpoint}, {self.mode} mode, {seen} shown, prompts {prompts}"


def explanation_jobs(posts: Iterable[Post], plan: Plan) -> Iterator[Job]:
    """One job per post; its result is a `dict[str, Answer]`, grain to answer."""
    for post in posts:
        yield Job(post.id, partial(explain, post, plan))


def explain(post: Post, plan: Plan) -> Talk:
    """The conversation about one post; the result holds an `Answer` for each of the plan's grains.

    The multimodality question is skipped for a post without caption (or picture, where pictures are shown): there is
    no image to relate the text to. In dialogue mode a question whose predecessor was not answered at all is not
    asked; after an empty, refused or cut answer the conversation goes on with what the teacher said.
    """
    try:
        picture = find_picture(plan.image_folder, post.image) if plan.image_folder is not None and post.image else None
    except (ImageProblem, OSError) as error:
        return dict.fromkeys(plan.grains, Answer(FAILED, reason=f"the picture can not be read: {error}"))
    caption = post.caption if plan.image_folder is None else ""
    has_image = bool(caption) or picture is not None
    fields = {"text": post.text, "caption": caption}
    opening = plan.prompts["post"].fill(**fields)
    system = [{"role": "system", "content": plan.prompts["system"].fill(**fields)}] if "system" in plan.prompts else []
    result: dict[str, Answer] = {}
    history: list[dict] = []
    for grain in plan.grains:
        prompt = plan.prompts[grain]
        if grain == "multimodality" and not has_image:
            result[grain] = Answer(SKIPPED, reason="the post has no caption or picture")
            continue
        question = prompt.fill(**fields)
        # A prompt that shows the post itself, in whatever form, does not get it shown a second time.
        if not history and "text" not in prompt.fields:
            question = f"{opening}\n\n{question}"
        turn = {"role": "user", "content": question if history else with_picture(question, picture)}
        request = Request(
            endpoint=plan.settings.endpoint,
            purpose=grain,
            prompt=plan.tags[grain],
            body=plan.settings.body([*system, *history, turn]),
            pictures=(picture,) if picture is not None else (),
        )
        answer = result[grain] = yield request
        if plan.mode == "independent":
            continue
        if answer.status not in FINAL:
            reason = f"the dialogue stops at {grain}, which is {answer.status}"
            for later in plan.grains[len(result) :]:
                result[later] = Answer(answer.status, reason=reason)
            break
        history += [turn, {"role": "assistant", "content": answer.text}]
    return result


def with_picture(question: str, picture: Picture | None) -> str | list[dict]:
    """A message's content: the question alone, or the picture and the question."""
    if picture is None:
        return question
    return [
        {"type": "image_url", "image_url": {"url": picture.reference}},
        {"type": "text", "text": question},
    ]


def find_picture(folder: Path, name: str) -> Picture:
    """The picture file `name` within `folder`.

    Raises:
        ImageProblem: It is missing, leads out of the folder, or is no JPEG, PNG, GIF or WebP picture.
    """
    path = resolve_image(folder, name)
    content = path.read_bytes()
    media_type = next((kind for start, kind in _MEDIA_TYPES if content.startswith(start)), "")
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        media_type = "image/webp"
    if not media_type:
        raise ImageProblem("corrupt", f"{name!r} is no JPEG, PNG, GIF or WebP picture")
    return Picture(path, media_type, hashlib.sha256(content).hexdigest())
