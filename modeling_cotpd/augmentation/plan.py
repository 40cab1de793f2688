"""What is to be augmented, how, and by whom."""

from dataclasses import dataclass

from modeling_cotpd.augmentation.outcome import ENTITY, IMAGE, KINDS, STYLE, Unasked
from modeling_cotpd.errors import SettingError
from modeling_cotpd.knowledge.answer import ANSWERED, CUT, FINAL, Answer
from modeling_cotpd.knowledge.explanation import Plan
from modeling_cotpd.knowledge.prompt import Prompt
from modeling_cotpd.knowledge.request import Request
from modeling_cotpd.knowledge.teacher import TeacherSettings

IN_DOMAIN, FROM_TEACHER = "in-domain", "teacher"
REWRITE, ELICIT, EMPTY = "rewrite", "elicit", "empty"
ONE, ALL = "one", "all"
LIST_SIZE = 400
"""How many entities the teacher writes over all types (Section 3.3)."""


@dataclass(frozen=True)
class AugmentPlan:
    """What is made from every training post.

    Args:
        prompts (`dict[str, Prompt]`): From `load_prompts`.
        settings (`TeacherSettings`, *optional*): Whom to ask; needed unless `needs_teacher` is false.
        kinds (`tuple[str, ...]`): `"style"`, `"entity"` or both, and `"image"` for imagined captions.
        times (`int`): How many samples of each kind are wanted per post (Figure 3: 0 to 4).
        seed (`int`): Of the random draws. With the same seed, the samples of fewer times are among those of more.
        fact_check (`bool`): Keep an entity sample only when the teacher says that it is possible in fact.
        entity_source (`str`): `"in-domain"`, the mentions of the training split, or `"teacher"`, names that the
            teacher writes and the training split does not have (zero-shot).
        mentions (`str`): Replace `"one"` entity of the post or `"all"`. One is the paper's; ours draws which.
        knowledge (`str`): Chain-of-thought columns of a new sample: `"rewrite"` keeps the parent's, with the old
            entity's names replaced; `"elicit"` asks the teacher anew; `"empty"` leaves them out.
        label_repeats (`bool`): Take style rewrites that name an entity more often than the post.
        keep_cut (`bool`): Take answers that reached the token limit for answers.
        list_size (`int`): Names that the teacher writes over all types.

    Raises:
        SettingError: A setting is unknown, out of range or in conflict with another, or the teacher is missing.
    """

    prompts: dict[str, Prompt]
    settings: TeacherSettings | None = None
    kinds: tuple[str, ...] = (STYLE, ENTITY, IMAGE)
    times: int = 1
    seed: int = 0
    fact_check: bool = True
    entity_source: str = IN_DOMAIN
    mentions: str = ONE
    knowledge: str = REWRITE
    label_repeats: bool = False
    keep_cut: bool = False
    list_size: int = LIST_SIZE

    def __post_init__(self):
        choices = {
            "entity_source": (IN_DOMAIN, FROM_TEACHER),
            "mentions": (ONE, ALL),
            "knowledge": (REWRITE, ELICIT, EMPTY),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise SettingError(f"{getattr(self, name)!r} is unknown.", place=name, fix=f"Use {', '.join(known)}.")
        if unknown := [kind for kind in self.kinds if kind not in KINDS]:
            raise SettingError(f"{unknown[0]!r} is unknown.", place="kinds", fix=f"Use {', '.join(KINDS)}.")
        if not self.text_kinds or len(set(self.kinds)) < len(self.kinds):
            raise SettingError(
                "The kinds need style or entity, each once: an imagined picture goes with a new text.",
                place="kinds",
                fix="For example --kinds style,entity,image",
            )
        if self.times < 0:
            raise SettingError(f"{self.times} is below 0.", place="times")
        if self.list_size < 1:
            raise SettingError(f"{self.list_size} is below 1.", place="list_size")
        if self.needs_teacher and self.settings is None:
            raise SettingError(
                f"This needs a teacher: {', '.join(self.teachers_parts)}.",
                place="model",
                fix="Give --model, or use --kinds entity --no-fact-check, which needs none.",
            )

    @property
    def text_kinds(self) -> tuple[str, ...]:
        """The kinds that make new texts, in a fixed order."""
        return tuple(kind for kind in (STYLE, ENTITY) if kind in self.kinds)

    @property
    def imagines(self) -> bool:
        """Whether new samples get an imagined picture's description as caption."""
        return IMAGE in self.kinds

    @property
    def lists_entities(self) -> bool:
        """Whether the teacher writes the new entities."""
        return ENTITY in self.kinds and self.entity_source == FROM_TEACHER and self.times > 0

    @property
    def teachers_parts(self) -> list[str]:
        """What the teacher is asked for."""
        parts = [kind for kind in self.kinds if kind != ENTITY]
        if ENTITY in self.kinds and self.fact_check:
            parts.append("the fact check")
        if self.lists_entities:
            parts.append("the list of entities")
        if self.knowledge == ELICIT:
            parts.append("knowledge")
        return parts if self.times else []

    @property
    def needs_teacher(self) -> bool:
        """Whether there is anything to ask."""
        return bool(self.teachers_parts)

    @property
    def explanation(self) -> Plan:
        """The plan of eliciting knowledge anew, in dialogue mode as in the paper."""
        return Plan(self.teacher, self.prompts)

    @property
    def teacher(self) -> TeacherSettings:
        """The settings of a plan that needs a teacher."""
        if self.settings is None:
            raise SettingError("This plan has no teacher.", place="settings")
        return self.settings

    def request(self, purpose: str, history: list[dict], *prompts: Prompt) -> Request:
        """The request with the given messages, tagged with the prompts that they were made of."""
        return Request(
            endpoint=self.teacher.endpoint,
            purpose=purpose,
            prompt=" ".join(prompt.tag for prompt in prompts),
            body=self.teacher.body(history),
        )

    def usable(self, answer: Answer) -> bool:
        """Whether an answer's text is to be used.

        Raises:
            Unasked: There is no answer.
        """
        if answer.status not in FINAL:
            raise Unasked(f"{answer.status}: {answer.reason}")
        return answer.status in ((ANSWERED, CUT) if self.keep_cut else (ANSWERED,))

    def describe(self) -> dict:
        """The settings as `dataset.json` keeps them."""
        about = {"kinds": list(self.kinds), "times": self.times, "seed": self.seed}
        if STYLE in self.kinds:
            about["label_repeats"] = self.label_repeats
        if ENTITY in self.kinds:
            about |= {"entity_source": self.entity_source, "mentions": self.mentions, "fact_check": self.fact_check}
        about["knowledge"] = self.explanation.describe() if self.knowledge == ELICIT else self.knowledge
        if self.needs_teacher:
            names = ("post", "style", "style_again", "fact_check", "image", "entity_list")
            about |= {
                "teacher": self.teacher_name,
                "sampling": self.teacher.sampling,
                "prompts": [self.prompts[name].tag for name in names],
            }
        return about

    @property
    def teacher_name(self) -> str:
        """Model and endpoint; empty when nobody is asked."""
        return f"{self.teacher.model} at {self.teacher.endpoint}" if self.needs_teacher else ""


def imagined(answer: Answer) -> bool:
    """Whether an answer was made up by `estimate`, which has no response; a job goes on as if all were well."""
    return answer.answered and not answer.response


def opening(plan: AugmentPlan, text: str, prompt: Prompt) -> list[dict]:
    """The messages that show a post's text and ask about it."""
    question = prompt.fill(text=text, caption="")
    if "text" not in prompt.fields:
        question = f"{plan.prompts['post'].fill(text=text, caption='')}\n\n{question}"
    system = plan.prompts.get("system")
    messages = [{"role": "system", "content": system.fill(text=text, caption="")}] if system is not None else []
    return [*messages, {"role": "user", "content": question}]
