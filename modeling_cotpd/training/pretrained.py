"""Where pretrained encoders, finished models and their tokenizers come from, and LoRA on them."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError
from peft import LoraConfig, PeftModel, get_peft_model
from tokenizers.models import Unigram
from torch import nn
from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from modeling_cotpd.configuration_cotpd import CoTPDConfig
from modeling_cotpd.data.views import ViewSettings, require_fast
from modeling_cotpd.data.words import continuing_tokens, split_at_words, word_hyphens, word_prefixes
from modeling_cotpd.encoder_cotpd import resolve_encoder
from modeling_cotpd.errors import SettingError, as_setting_error, one_line
from modeling_cotpd.markers_cotpd import ENTITY_MARKERS, add_entity_markers
from modeling_cotpd.modeling_cotpd import CoTPDForTokenClassification, CoTPDPreTrainedModel
from modeling_cotpd.training.arguments import ModelArguments
from modeling_cotpd.training.results import MODEL_SETTINGS
from modeling_cotpd.training.splits import filled_columns
from modeling_cotpd.training.tasks import Task

NEW_MODULES = ("prompt", "classifier", "crf")
OTHER_TOKENS = 0.02
"""The share of a vocabulary in which a tokenizer may differ from the model's; one of another model differs in a third
of it."""


def load_tokenizer(
    name_or_path: str, max_length: int | None = None, trust_remote_code: bool = False, **kwargs
) -> PreTrainedTokenizerBase:
    """A tokenizer that treats every text as text: characters that spell a special token stay characters.

    Args:
        name_or_path (`str`): An encoder on the Hub, a folder, or `embedded-minilm`.
        max_length (`int`, *optional*): The most subword tokens of a text; pipelines truncate to it.
        trust_remote_code (`bool`, *optional*, defaults to `False`): Run tokenizer code that comes with it.
        kwargs: Passed to `AutoTokenizer.from_pretrained` (`revision`, `token`, ...).

    Raises:
        OSError: There is no tokenizer, or its files are cut or of another kind.
    """
    source = resolve_encoder(name_or_path)
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            source, split_special_tokens=True, trust_remote_code=trust_remote_code, **kwargs
        )
    except OSError:
        raise
    # a file that is cut or of another kind ends in dozens of unrelated classes, plain Exception among them
    except Exception as error:
        fix = "Copy its files again, or save it there: tokenizer.save_pretrained(DIR)."
        raise unusable(name_or_path, "The tokenizer cannot be loaded", error, fix) from error
    # Segment ids are all 0, and the models do not read them
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    if tokenizer.is_fast:
        unspell_special_tokens(tokenizer)
    ensure_padding(tokenizer)
    if max_length is not None:
        tokenizer.model_max_length = max_length
    return tokenizer


def ensure_padding(tokenizer: PreTrainedTokenizerBase) -> None:
    """Take another special token for padding where there is none: padding is not attended to, so any serves."""
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.sep_token or tokenizer.unk_token
        if tokenizer.pad_token_id is None:
            raise SettingError("The tokenizer has no token for padding.", fix="Set one: tokenizer.pad_token = '...'")


def unspell_special_tokens(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """Keep a Unigram model (XLM-R, DeBERTa-v3) from reading `</s>` in a text as the special token.

    Such a model gives its special tokens the best score, 0, and finds them in any text, even with
    `split_special_tokens`. Here they get a score that no text prefers. The change is saved with the tokenizer.
    """
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    if model["type"] == "Unigram":
        special = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
        special.discard(tokenizer.unk_token)
        vocabulary = [(piece, -1.0e4 if piece in special else score) for piece, score in model["vocab"]]
        tokenizer.backend_tokenizer.model = Unigram(vocabulary, model["unk_id"], model["byte_fallback"])
    return tokenizer


def unusable(name_or_path: str, message: str, error: Exception, fix: str) -> OSError:
    """The error of a part of a model that a library cannot read."""
    return OSError(f"{name_or_path}: {message} ({type(error).__name__}: {one_line(error)}). {fix}")


def load_config(name_or_path: str, trust_remote_code: bool = False, **kwargs) -> PreTrainedConfig:
    """The configuration of a model in a folder or on the Hub; `kwargs` go to `AutoConfig.from_pretrained`.

    Raises:
        SettingError: There is no such folder, and no such repository on the Hub or no connection to it.
        OSError: The folder or repository holds no model that can be read, or a configuration with odd values.
    """
    source = resolve_encoder(name_or_path)
    try:
        return AutoConfig.from_pretrained(source, trust_remote_code=trust_remote_code, **kwargs)
    except OSError as error:
        cause = error.__cause__
        if Path(source).exists() or isinstance(cause, GatedRepoError):
            raise
        if isinstance(cause, LocalEntryNotFoundError):
            reason, fix = "the Hub could not be reached", "Check the name, or the connection."
        elif isinstance(cause, RepositoryNotFoundError):
            reason, fix = "no such repository on the Hub", "Check the name; a private one needs: hf auth login."
        else:
            raise
        raise SettingError(f"There is no such folder here, and {reason}.", place=name_or_path, fix=fix) from error
    # a value of another kind ends in many kinds of errors, those of strict dataclasses among them
    except Exception as error:
        raise unusable(name_or_path, "The configuration cannot be used", error, "Copy the model again.") from error


def is_cotpd_checkpoint(name_or_path: str, trust_remote_code: bool = False, **kwargs) -> bool:
    """Whether a folder or Hub repository holds a CoTPD model rather than a plain encoder."""
    return load_config(name_or_path, trust_remote_code, **kwargs).model_type == "cotpd"


def load_finished_model(
    name_or_path: str,
    model_class: type[CoTPDPreTrainedModel],
    label_names: Sequence[str] = (),
    **loading,
) -> CoTPDPreTrainedModel:
    """A CoTPD model of a given class, in evaluation mode, that predicts the given labels, where some are given.

    `loading` goes to `from_pretrained` (`revision`, `dtype`, `attn_implementation`, ...).
    """
    try:
        model = model_class.from_pretrained(name_or_path, **loading)
    except (OSError, ImportError):
        raise
    # odd weights and an odd adapter beside them end in errors of several libraries
    except Exception as error:
        fix = "Copy it again, and what lies beside it."
        raise unusable(name_or_path, "The model cannot be loaded", error, fix) from error
    labels = [model.config.id2label[index] for index in range(model.config.num_labels)]
    if label_names and labels != list(label_names):
        message = f"The checkpoint predicts {labels}, the data has {list(label_names)}."
        fix = "Use data with the same labels, or start from a plain encoder."
        raise SettingError(message, place=name_or_path, fix=fix)
    return model


def hub_arguments(arguments: ModelArguments) -> dict[str, Any]:
    """What every loading from the Hub or a folder gets."""
    return {
        "revision": arguments.model_revision,
        "cache_dir": arguments.cache_dir,
        "trust_remote_code": arguments.trust_remote_code,
    }


def resolved(arguments: ModelArguments) -> ModelArguments:
    """The arguments with the settings that a CoTPD checkpoint brings with it, so that a run records what it uses."""
    config = load_config(arguments.model_name_or_path, **hub_arguments(arguments))
    if config.model_type != CoTPDConfig.model_type:
        return arguments
    return dataclasses.replace(arguments, **{name: getattr(config, name) for name in MODEL_SETTINGS})


def make_model(
    task: Task, arguments: ModelArguments, label_names: Sequence[str]
) -> tuple[CoTPDPreTrainedModel, PreTrainedTokenizerBase]:
    """A model and tokenizer from a plain encoder, or from a CoTPD checkpoint that is trained on or evaluated.

    `label_names` are the labels of the data, in id order.
    """
    hub = hub_arguments(arguments)
    source = resolve_encoder(arguments.model_name_or_path)
    tokenizer = load_tokenizer(source, **hub)
    loading: dict[str, Any] = {**hub, "attn_implementation": arguments.attn_implementation}
    with as_setting_error():
        if is_cotpd_checkpoint(source, **hub):
            model = load_finished_model(source, task.model_class, label_names, **loading)
        else:
            if changes := arguments.encoder_config_overrides:
                loading["config"] = changed_encoder_config(source, changes, hub)
            config = CoTPDConfig(
                **{name: getattr(arguments, name) for name in MODEL_SETTINGS},
                id2label=dict(enumerate(label_names)),
                label2id={name: index for index, name in enumerate(label_names)},
            )
            model = task.model_class.from_encoder(source, config=config, encoder_kwargs=loading)
            prepare_tokenizer(tokenizer, model, task)
    check_tokenizer(tokenizer, model, task, arguments.model_name_or_path)
    limit = model.get_base_model().max_text_length
    if limit is not None:
        tokenizer.model_max_length = limit
    return model, tokenizer


def check_tokenizer(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel, task: Task, name_or_path: str) -> None:
    """Refuse a tokenizer of another model, by its size, its entity markers, and which tokens continue a word."""
    known = model.config.get_text_config().vocab_size
    marks = getattr(model, "continues_word", None)
    fault = ""
    if len(tokenizer) > known:
        fault = f"The tokenizer has {len(tokenizer):,} tokens, the model {known:,}"
    elif task.adds_tokens and not set(ENTITY_MARKERS) <= set(tokenizer.get_added_vocab()):
        fault = "The tokenizer lacks the entity markers"
    elif marks is not None and marks.any():
        found = torch.tensor(continuing_tokens(tokenizer), dtype=torch.bool)
        wrong = (found != marks[: len(found)].cpu()).sum() + marks[len(found) :].sum()
        if wrong > OTHER_TOKENS * known:
            fault = f"{wrong:,} of the tokenizer's tokens are not the model's"
    if fault:
        fix = "Copy the tokenizer of this model again."
        raise SettingError(f"{fault}: they are of different models.", place=name_or_path, fix=fix)


def prepare_tokenizer(tokenizer: PreTrainedTokenizerBase, model: CoTPDPreTrainedModel, task: Task) -> None:
    """Make the tokenizer and a new model fit each other: words, padding, entity markers. Changes both."""
    require_fast(tokenizer)
    with as_setting_error(model.config.encoder_config._name_or_path or None):
        split_at_words(tokenizer)
    ensure_padding(tokenizer)
    if task.adds_tokens and add_entity_markers(tokenizer):
        model.resize_token_embeddings(len(tokenizer))
    if isinstance(model, CoTPDForTokenClassification):
        model.read_words(continuing_tokens(tokenizer))


def changed_encoder_config(source: str, changes: str, hub: dict[str, Any]) -> PreTrainedConfig:
    """A plain encoder's configuration with `name=value,...` over it."""
    config = load_config(source, **hub)
    try:
        config.update_from_string(changes)
    except (TypeError, ValueError) as error:
        raise SettingError(
            f"encoder_config_overrides={changes!r} does not fit a {type(config).__name__}: {error}",
            fix="Give names of its configuration, as in attention_probs_dropout_prob=0.0,hidden_dropout_prob=0.1.",
        ) from error
    return config


def model_views(model: CoTPDPreTrainedModel, records: Dataset) -> ViewSettings:
    """The views that a model's configuration names; a new model reads the knowledge columns that the records fill."""
    config = model.config
    columns = filled_columns([records]) if config.knowledge_columns is None else config.knowledge_columns
    return views_within(model, columns, config.knowledge_max_length, config.knowledge_placement)


def views_within(model: CoTPDPreTrainedModel, columns: Sequence[str], max_length: int, placement: str) -> ViewSettings:
    """Views of at most `max_length` subword tokens, and no longer than the model's encoder reads."""
    base = model.get_base_model()
    return ViewSettings(
        tuple(columns), min(max_length, base.max_positions or max_length), base.max_text_length, placement
    )


def record_words(model: CoTPDPreTrainedModel, tokenizer: PreTrainedTokenizerBase, train: Dataset) -> None:
    """Let an entity model read words as the labelled posts of its training data write them."""
    if isinstance(model, CoTPDForTokenClassification):
        rows = (row for row, tags in zip(train["tokens"], train["ner_tags"], strict=True) if tags is not None)
        model.read_words(continuing_tokens(tokenizer), word_prefixes(rows, tokenizer), word_hyphens(tokenizer))


def record_views(model: CoTPDPreTrainedModel, views: ViewSettings) -> None:
    """Write the views that a model is trained with into its configuration."""
    model.config.knowledge_columns = list(views.knowledge_columns)
    model.config.knowledge_placement = views.placement
    model.config.knowledge_max_length = views.max_length


def add_lora(model: CoTPDPreTrainedModel, arguments: ModelArguments, new_vocabulary: bool) -> PeftModel:
    """Freeze the encoder, add LoRA to it through peft, keep prompt and head trainable.

    With `new_vocabulary` (entity markers), the embeddings stay trainable too.
    """
    modules = list(model.named_modules())
    present = {name for part in (model, model.get_base_model()) for name, _ in part.named_children()}
    targets = arguments.lora_target_modules
    if targets in (None, ["all-linear"], ["all_linear"]):
        targets = [name for name, module in modules if isinstance(module, nn.Linear) and ".encoder." in f".{name}"]
    embeddings = [name.rsplit(".", 1)[-1] for name, module in modules if module is model.get_input_embeddings()]
    with as_setting_error("lora"):
        config = LoraConfig(
            r=arguments.lora_r,
            lora_alpha=arguments.lora_alpha,
            lora_dropout=arguments.lora_dropout,
            target_modules=targets,
            modules_to_save=[name for name in NEW_MODULES if name in present] + (embeddings if new_vocabulary else []),
        )
        return get_peft_model(model, config)
