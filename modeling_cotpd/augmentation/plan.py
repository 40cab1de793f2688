"""What is to be augmented, how, and by which model; and one wanted sample."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from modeling_cotpd.errors import SettingError, check_at_least, check_choice
from modeling_cotpd.knowledge.answer import FINAL, Answer
from modeling_cotpd.knowledge.endpoint import EndpointSettings
from modeling_cotpd.knowledge.explanation import ElicitationPlan
from modeling_cotpd.knowledge.prompt import Prompt
from modeling_cotpd.knowledge.request import Request

STYLE, ENTITY, IMAGE = "style", "entity", "image"
KINDS = (STYLE, ENTITY, IMAGE)
ACCEPTED, REJECTED, UNASKED = "accepted", "rejected", "unasked"
NO_ANSWER = "no answer"
"""The reason of all that is `unasked`."""


class Rejected(Exception):
    """A sample that is not to be taken: one of a few fixed wordings, to be counted, and what it was in this case."""

    def __init__(self, reason: str, detail: str = "", status: str = REJECTED):
        super().__init__(reason)
        self.reason, self.detail, self.status = reason, detail, status


@dataclass
class Candidate:
    """One wanted sample: number `time`, from 1, of a kind that is made from the post with the id `parent`.

    Args:
        status (`str`): `accepted`, `rejected`, or `unasked` (a request has no answer: run again).
        reason (`str`), detail (`str`): Why it is not accepted.
        text (`str`), row (`dict`): The new post, as far as it came, and its record with labels as names.
        notes (`list[str]`): What was done to caption and knowledge, to be counted.
    """

    parent: str
    kind: str
    time: int
    status: str = ACCEPTED
    reason: str = ""
    detail: str = ""
    text: str = ""
    row: dict = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @contextmanager
    def judged(self) -> Iterator[None]:
        """Note why the block ended without a sample."""
        try:
            yield
        except Rejected as error:
            self.status, self.reason, self.detail = error.status, error.reason, error.detail


IN_DOMAIN, FROM_TEACHER = "in-domain", "teacher"
REWRITE, ELICIT, EMPTY = "rewrite", "elicit", "empty"
ONE, ALL = "one", "all"
LIST_SIZE = 400
"""How many entities the model writes over all types (Section 3.3)."""


@dataclass(frozen=True)
class AugmentPlan:
    """What is made from every training post.

    Args:
        prompts (`dict[str, Prompt]`): From `load_prompts`.
        settings (`EndpointSettings`, *optional*): Which model is asked; needed unless `needs_teacher` is false.
        kinds (`tuple[str, ...]`): `"style"`, `"entity"` or both, and `"image"` for imagined captions.
        times (`int`): How many samples of each kind are wanted per post (Figure 3: 0 to 4).
        seed (`int`): Of the random draws. With the same seed, the samples of fewer times are among those of more.
        fact_check (`bool`): Keep an entity sample only when the model says that it is possible in fact.
        entity_source (`str`): `"in-domain"`, the mentions of the training split, or `"teacher"`, names that the
            model writes and the training split does not have (zero-shot).
        mentions (`str`): Replace `"one"` entity of the post or `"all"`. One is the paper's; which is drawn at random.
        knowledge (`str`): Chain-of-thought columns of a new sample: `"rewrite"` keeps the parent's, with the old
            entity's names replaced; `"elicit"` asks the model anew; `"empty"` leaves them out.
        keep_cut (`bool`): Take answers that reached the token limit for answers.
        list_size (`int`): Names that the model writes over all types.

    Raises:
        SettingError: A setting is unknown, out of range or in conflict with another, or the model is missing.
    """

    prompts: dict[str, Prompt]
    settings: EndpointSettings | None = None
    kinds: tuple[str, ...] = KINDS
    times: int = 1
    seed: int = 0
    fact_check: bool = True
    entity_source: str = IN_DOMAIN
    mentions: str = ONE
    knowledge: str = REWRITE
    keep_cut: bool = False
    list_size: int = LIST_SIZE

    def __post_init__(self):
        check_choice(self.entity_source, (IN_DOMAIN, FROM_TEACHER), "entity_source")
        check_choice(self.mentions, (ONE, ALL), "mentions")
        check_choice(self.knowledge, (REWRITE, ELICIT, EMPTY), "knowledge")
        for kind in self.kinds:
            check_choice(kind, KINDS, "kinds")
        if not self.text_kinds or len(set(self.kinds)) < len(self.kinds):
            message = "The kinds need style or entity, each once: an imagined picture goes with a new text."
            raise SettingError(message, place="kinds", fix="For example --kinds style,entity,image")
        check_at_least(self.times, 0, "times")
        check_at_least(self.list_size, 1, "list_size")
        if self.needs_teacher and self.settings is None:
            message = f"This needs a model to ask: {', '.join(self.asked_parts)}."
            fix = "Give --model, or use --kinds entity --no-fact-check, which needs none."
            raise SettingError(message, place="model", fix=fix)

    @property
    def text_kinds(self) -> tuple[str, ...]:
        """The kinds that make new texts, in a fixed order."""
        return tuple(kind for kind in (STYLE, ENTITY) if kind in self.kinds)

    @property
    def lists_entities(self) -> bool:
        """Whether the model writes the new entities."""
        return ENTITY in self.kinds and self.entity_source == FROM_TEACHER and self.times > 0

    @property
    def asked_parts(self) -> list[str]:
        """What the model is asked for."""
        parts = [kind for kind in self.kinds if kind != ENTITY]
        parts += ["the fact check"] if ENTITY in self.kinds and self.fact_check else []
        parts += ["the list of entities"] if self.lists_entities else []
        parts += ["knowledge"] if self.knowledge == ELICIT else []
        return parts if self.times else []

    @property
    def needs_teacher(self) -> bool:
        """Whether there is anything to ask."""
        return bool(self.asked_parts)

    @property
    def explanation(self) -> ElicitationPlan:
        """The plan of eliciting knowledge anew, in dialogue mode as in the paper."""
        return ElicitationPlan(self.endpoint, self.prompts)

    @property
    def endpoint(self) -> EndpointSettings:
        """The settings of a plan that asks a model."""
        if self.settings is None:
            raise SettingError("This plan names no model.", place="settings")
        return self.settings

    def request(self, purpose: str, history: list[dict], *prompts: Prompt, example: str = "") -> Request:
        """Return a request with `Request.example`."""
        tags = " ".join(prompt.tag for prompt in prompts)
        return replace(self.endpoint.request(purpose, tags, history), example=example)

    def usable_text(self, answer: Answer) -> str:
        """Return an answer's text, empty when it is not to be used. Raises `Rejected` where there is no answer."""
        if answer.status not in FINAL:
            raise Rejected(NO_ANSWER, f"{answer.status}: {answer.reason}", UNASKED)
        return answer.usable_text(self.keep_cut)

    def describe(self) -> dict:
        """The settings as `dataset.json` keeps them."""
        about = {"kinds": list(self.kinds), "times": self.times, "seed": self.seed}
        if ENTITY in self.kinds:
            about |= {"entity_source": self.entity_source, "mentions": self.mentions, "fact_check": self.fact_check}
        about["knowledge"] = self.explanation.describe() if self.knowledge == ELICIT else self.knowledge
        if self.needs_teacher:
            names = ("post", "style", "style_again", "fact_check", "image", "entity_list")
            about |= {"teacher": self.teacher_name, "sampling": self.endpoint.sampling}
            about["prompts"] = [self.prompts[name].tag for name in names]
        return about

    @property
    def teacher_name(self) -> str:
        """Model and endpoint; empty when no model is asked."""
        return f"{self.endpoint.model} at {self.endpoint.endpoint}" if self.needs_teacher else ""
