"""Options of the commands that read single posts, and the predictor that they describe."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modeling_cotpd.cli.options import OPENAI_URL, STORE, Store
from modeling_cotpd.errors import SettingError

if TYPE_CHECKING:
    from modeling_cotpd.inference.knowledge_source import KnowledgeSource
    from modeling_cotpd.inference.view_predictor import ViewPredictor

KNOWLEDGE = "Knowledge"

Model = Annotated[str, typer.Argument(help="A run's output folder, or a Hub repository.")]


@dataclass(frozen=True)
class ViewOptions:
    """What a post is read with beside the model; a command takes it as its parameter `teacher`."""

    relations: Annotated[str | None, typer.Option(help="A model for relations: find entities and relations.")] = None
    check_types: Annotated[
        bool,
        typer.Option(
            "--check-types/--any-types", help="Leave out relations that name other types than their entities."
        ),
    ] = True
    dataset_dir: Annotated[
        Path | None, typer.Option(help="The prepared folder trained on, for similar training posts.")
    ] = None
    captioner: Annotated[
        str,
        typer.Option(help="A captioning model: folder, Hub name, or the endpoint's name.", rich_help_panel=KNOWLEDGE),
    ] = ""
    captioner_url: Annotated[
        str, typer.Option(help="The captioner's OpenAI-compatible endpoint, up to /v1.", rich_help_panel=KNOWLEDGE)
    ] = ""
    teacher: Annotated[
        str,
        typer.Option(help="The teacher's name at the endpoint; by default none is asked.", rich_help_panel=KNOWLEDGE),
    ] = ""
    teacher_url: Annotated[
        str,
        typer.Option(
            help="The teacher's OpenAI-compatible endpoint, up to /v1.",
            envvar="OPENAI_BASE_URL",
            rich_help_panel=KNOWLEDGE,
        ),
    ] = OPENAI_URL
    key_variable: Annotated[
        str, typer.Option(help="Environment variable that holds the API key.", rich_help_panel=KNOWLEDGE)
    ] = "OPENAI_API_KEY"
    store: Store = STORE
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto"

    def predictor(self, model: str) -> "ViewPredictor":
        """The model or models, with all that the options name.

        Raises:
            SettingError: There is no such model, or an option is wrong.
            DataError: The dataset folder is none.
            KnowledgeError: The captioning model cannot be loaded.
        """
        import torch

        from modeling_cotpd.inference.view_predictor import ViewPredictor

        device = torch.device("cpu")
        if self.device != "auto":
            device = torch.device(self.device)
        elif torch.accelerator.is_available():
            device = torch.accelerator.current_accelerator() or device
        more: dict[str, Any] = {} if self.relations is None else {"check_types": self.check_types}
        return ViewPredictor.from_folder(
            model,
            relations=self.relations,
            dataset_dir=self.dataset_dir,
            source=self.source(str(device)),
            device=device,
            **more,
        )

    def source(self, device: str) -> "KnowledgeSource":
        """The captioner and the teacher that the options name."""
        from modeling_cotpd.inference.knowledge_source import KnowledgeSource, one_by_one

        if self.captioner_url and not self.captioner:
            raise SettingError("The captioner's endpoint needs a model.", place="--captioner", fix="Name it.")
        caption: Any = None
        if self.captioner_url:
            from functools import partial

            from modeling_cotpd.knowledge.captions import caption_image
            from modeling_cotpd.knowledge.endpoint import EndpointSettings
            from modeling_cotpd.knowledge.prompt import load_prompts

            sampling = {"max_tokens": 100}
            settings = EndpointSettings(
                self.captioner, self.captioner_url, sampling=sampling, api_key_variable=self.key_variable
            )
            caption = partial(caption_image, settings=settings, prompt=load_prompts()["caption"], store=self.store)
        elif self.captioner:
            import torch

            from modeling_cotpd.knowledge.captioner import TransformersCaptioner

            caption = one_by_one(TransformersCaptioner(self.captioner, device=torch.device(device)))
        plan = None
        if self.teacher:
            from modeling_cotpd.knowledge.endpoint import EndpointSettings
            from modeling_cotpd.knowledge.explanation import ElicitationPlan
            from modeling_cotpd.knowledge.prompt import load_prompts

            settings = EndpointSettings(self.teacher, self.teacher_url, api_key_variable=self.key_variable)
            plan = ElicitationPlan(settings, load_prompts())
        return KnowledgeSource(caption, plan, self.store)
