"""The explanation of a post by a language model: the three grains, in dialogue or independently.

From Python, a few lines ask about any posts, resumably:

```python
plan = ElicitationPlan(EndpointSettings("my-model", "http://127.0.0.1:8000/v1"), load_prompts())
print(*estimate_posts(posts, plan, "answers.sqlite").lines(None), sep="\\n")  # sends nothing
for explanation in elicit_posts(posts, plan, "answers.sqlite"):
    print(explanation.post.id, explanation.columns())
```
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from modeling_cotpd.data.posts import Post
from modeling_cotpd.errors import SettingError, check_choice
from modeling_cotpd.knowledge.answer import ANSWERED, CUT, FINAL, REFUSED, SKIPPED, UNPARSABLE, Answer
from modeling_cotpd.knowledge.endpoint import EndpointSettings
from modeling_cotpd.knowledge.estimate import Estimate, estimate
from modeling_cotpd.knowledge.glosses import list_of, read_glosses
from modeling_cotpd.knowledge.images import ImageProblem, find_picture
from modeling_cotpd.knowledge.prompt import Prompt, opening
from modeling_cotpd.knowledge.request import Conversation, Job, unreadable, with_picture
from modeling_cotpd.knowledge.runner import Asking, run_jobs
from modeling_cotpd.knowledge.store import ResponseStore

GRAINS = ("noun", "sentence", "multimodality")
TEXT, LIST = "text", "list"


def usable(keep_cut: bool) -> tuple[str, ...]:
    """The statuses of grains that are no problem."""
    return (ANSWERED, SKIPPED, CUT) if keep_cut else (ANSWERED, SKIPPED)


@dataclass(frozen=True)
class ElicitationPlan:
    """What is asked about every post.

    The post opens the conversation as the first user message ("Text: ...", "Image: ...", then the question). No system
    message is sent unless the user's prompts have one: several open models' chat templates refuse it. In dialogue mode
    the later questions follow alone, each after the model's own earlier answers; in independent mode every question
    brings the post along.

    Args:
        settings (`EndpointSettings`): Which model is asked.
        prompts (`dict[str, Prompt]`): From `load_prompts`.
        grains (`tuple[str, ...]`, *optional*): Which grains, in the order in which they are asked.
        mode (`str`, *optional*, defaults to `"dialogue"`): `"dialogue"` (the paper) or `"independent"`.
        image_folder (`Path`, *optional*): Where pictures are, as `images.image_folder` returns it; when given, the
            model sees the picture itself instead of its caption, as vision models can.
        nouns (`str`, *optional*, defaults to `"text"`): `"text"` asks for the noun grain in the paper's words,
            `"list"` for a JSON list of mentions and glosses.

    Raises:
        SettingError: A grain, the mode or the form of the nouns is unknown.
    """

    settings: EndpointSettings
    prompts: dict[str, Prompt]
    grains: tuple[str, ...] = GRAINS
    mode: str = "dialogue"
    image_folder: Path | None = None
    nouns: str = TEXT

    def __post_init__(self):
        check_choice(self.mode, ("dialogue", "independent"), "mode")
        check_choice(self.nouns, (TEXT, LIST), "nouns")
        for grain in self.grains:
            check_choice(grain, GRAINS, "grains")
        if not self.grains or len(set(self.grains)) < len(self.grains):
            raise SettingError("Name every grain once, and at least one.", place="grains")

    def prompt(self, grain: str) -> Prompt:
        return self.prompts["noun_list" if grain == "noun" and self.nouns == LIST else grain]

    @property
    def tags(self) -> dict[str, str]:
        """Per grain, the tags of all prompts that its first request is made of."""
        frame = [self.prompts[name].tag for name in ("system", "post") if name in self.prompts]
        return {grain: " ".join([*frame, self.prompt(grain).tag]) for grain in self.grains}

    @property
    def shown(self) -> str:
        """What the model sees of a picture: `"picture"` or `"caption"`."""
        return "picture" if self.image_folder is not None else "caption"

    def provenance(self) -> dict:
        """Return how the knowledge is made, for `DatasetInfo.provenance`."""
        return {"teacher": self.settings.model, "mode": self.mode, "shown": self.shown, "prompts": self.tags}

    def describe(self) -> str:
        """Return the same in one line, for `DatasetInfo.knowledge`."""
        settings, prompts = self.settings, ", ".join(self.prompt(grain).tag for grain in self.grains)
        return f"{settings.model} at {settings.endpoint}, {self.mode} mode, {self.shown} shown, prompts {prompts}"


@dataclass(frozen=True)
class Explanation:
    """What a model says about a post: an answer per grain, and glosses when the nouns were asked for as a list."""

    post: Post
    answers: dict[str, Answer] = field(default_factory=dict)
    glosses: list[dict[str, str]] = field(default_factory=list)

    def columns(self, keep_cut: bool = False) -> dict[str, str]:
        """Return knowledge column to text, empty without a usable answer; `keep_cut` uses cut answers."""
        return {f"cot_{grain}": answer.usable_text(keep_cut) for grain, answer in self.answers.items()}

    def problems(self, keep_cut: bool = False) -> dict[str, Answer]:
        """Return the answers that cannot be used, by grain; skipped grains are none."""
        return {grain: answer for grain, answer in self.answers.items() if answer.status not in usable(keep_cut)}


def elicit_posts(
    posts: Iterable[Post], plan: ElicitationPlan, store: str | os.PathLike, asking: Asking | None = None
) -> Iterator[Explanation]:
    """Explain posts: ask for what the store lacks, and yield the explanations in the order of the posts.

    Every answer is stored when it arrives, so the same call after an interruption asks only for the rest.

    Args:
        posts (`Iterable[Post]`): Any number of posts; each needs `id`, `text` and, when known, the column `caption`.
        plan (`ElicitationPlan`): Which model is asked, and what.
        store (`str` or `os.PathLike`): The response store's file; it is made when missing.
        asking (`Asking`, *optional*): Concurrency, statuses to ask again, progress bar. `asking.progress` counts
            requests and tokens; `Asking(ask=False)` yields what is stored and sends nothing.

    Raises:
        KnowledgeError: The endpoint declines everything, or the store cannot be used.

    Example:
        >>> posts = [Post("1", "Varro Quill signs for Lindmere Athletic", columns={"caption": "a man with a pen"})]
        >>> for explanation in elicit_posts(posts, plan, "answers.sqlite"):  # doctest: +SKIP
        ...     print(explanation.columns()["cot_noun"])
    """
    with ResponseStore(store) as opened:
        for _, explanation in run_jobs(elicitation_jobs(posts, plan), plan.settings, opened, asking):
            yield explanation


def estimate_posts(
    posts: Iterable[Post], plan: ElicitationPlan, store: str | os.PathLike, again: Iterable[str] = ()
) -> Estimate:
    """Count the requests that `elicit_posts` would send, and estimate their tokens; nothing is sent.

    Args:
        posts (`Iterable[Post]`), plan (`ElicitationPlan`), store (`str` or `os.PathLike`): Those of `elicit_posts`.
        again (`Iterable[str]`, *optional*): Statuses of stored answers that would be asked again.

    Example:
        >>> found = estimate_posts(posts, plan, "answers.sqlite")  # doctest: +SKIP
        >>> find_price("gpt-5-nano").cost(found.prompt_tokens, found.completion_tokens)  # doctest: +SKIP
        0.37
    """
    return estimate(elicitation_jobs(posts, plan), store, plan.settings, again)


def elicitation_jobs(posts: Iterable[Post], plan: ElicitationPlan) -> Iterator[Job]:
    """Yield one job per post; its result is an `Explanation`."""
    for post in posts:
        yield Job(post.id, partial(explain, post, plan))


def explain(post: Post, plan: ElicitationPlan) -> Conversation:
    """Ask about one post; the result is an `Explanation` with an `Answer` for each of the plan's grains.

    The multimodality question is skipped for a post without caption (or picture, where pictures are shown), and a
    post without text is skipped. In dialogue mode a question whose predecessor has no answer is not asked; after an
    empty, refused or cut answer the conversation goes on with what the model said.
    """
    answers: dict[str, Answer] = {}
    result = Explanation(post, answers)
    if not post.text.strip():
        return Explanation(post, dict.fromkeys(plan.grains, Answer(SKIPPED, reason="the post has no text")))
    picture, caption = None, post.columns.get("caption", "")
    if plan.image_folder is not None:
        image, caption = post.columns.get("image"), ""
        try:
            picture = find_picture(plan.image_folder, image) if image else None
        except (ImageProblem, OSError) as error:
            return Explanation(post, dict.fromkeys(plan.grains, unreadable(error)))
    history: list[dict] = []
    for grain in plan.grains:
        prompt = plan.prompt(grain)
        if grain == "multimodality" and not (caption or picture):
            answers[grain] = Answer(SKIPPED, reason="the post has no caption or picture")
            continue
        if history:
            messages = [*history, {"role": "user", "content": prompt.fill(text=post.text, caption=caption)}]
        else:
            *system, first = opening(plan.prompts, prompt, post.text, caption)
            messages = [*system, {**first, "content": with_picture(first["content"], picture)}]
        answer = answers[grain] = yield plan.settings.request(grain, plan.tags[grain], messages, picture)
        if grain == "noun" and plan.nouns == LIST:
            answers[grain] = _parsed(answer, result.glosses)
        if plan.mode == "independent":
            continue
        # What the endpoint refuses to read, it refuses in the next question too.
        if answer.status not in FINAL or (answer.status == REFUSED and not answer.response and not answer.text):
            reason = f"the dialogue stops at {grain}, which is {answer.status}"
            for later in plan.grains[len(answers) :]:
                answers[later] = Answer(answer.status, reason=reason)
            break
        history = [*messages, {"role": "assistant", "content": answer.text}]
    return result


def _parsed(answer: Answer, glosses: list[dict[str, str]]) -> Answer:
    """A noun list as text; its glosses join `glosses`."""
    if answer.status not in (ANSWERED, CUT):
        return answer
    found = read_glosses(answer.text)
    if found is None:
        return replace(answer, status=UNPARSABLE, reason=f"no JSON list of mentions: {answer.text[:200]}")
    glosses += found
    return replace(answer, text=list_of(found))
