"""Pictures to words with a local model: BLIP-2 by default, any image-text-to-text or image-to-text model."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageTextToText, AutoProcessor, AutoTokenizer

from modeling_cotpd.errors import KnowledgeError, SettingError
from modeling_cotpd.knowledge.endpoint import EndpointSettings
from modeling_cotpd.knowledge.images import ImageProblem

if TYPE_CHECKING:
    from PIL import Image

DEFAULT_MODEL = "Salesforce/blip2-opt-2.7b"
"""The paper's captioner."""
DEFAULT_CHAT_PROMPT = "Describe the image in one sentence."
"""Chat models need an instruction; the paper's BLIP-2 captions without one."""
DTYPES = ("auto", "float32", "bfloat16", "float16")


def local_settings(model: str, revision: str | None, max_new_tokens: int) -> EndpointSettings:
    """Return what the answers of a local model are stored under, in the form in which endpoints are named."""
    sampling = {"temperature": None, "max_tokens": None, "revision": revision, "max_new_tokens": max_new_tokens}
    return EndpointSettings(model, endpoint="local", sampling=sampling, api_key_variable="")


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """The number format: `auto` takes bfloat16 on a GPU that has it, float16 on any other GPU, float32 on a CPU.

    Raises:
        SettingError: The name is not one of `DTYPES`.
    """
    if name not in DTYPES:
        raise SettingError(f"Unknown dtype {name!r}.", place="--dtype", fix=f"Use one of {', '.join(DTYPES)}.")
    if name != "auto":
        return getattr(torch, name)
    if device.type == "cpu":
        return torch.float32
    if device.type == "cuda" and not torch.cuda.is_bf16_supported():
        return torch.float16
    return torch.bfloat16


class TransformersCaptioner:
    """A captioning model of the transformers library.

    Weights are loaded from safetensors only, and code from the Hub is run only when `trust_remote_code` says so.

    Args:
        model (`str`, defaults to the paper's BLIP-2): A folder or a Hub name: BLIP-2, BLIP, GIT, LLaVA, Qwen-VL,
            SmolVLM, a vision-encoder-decoder, and so on.
        prompt (`str`, defaults to ""): What the model is asked. Without one, chat models get `DEFAULT_CHAT_PROMPT`,
            the others caption freely.
        max_new_tokens (`int`, defaults to 40): Twice the 20 of transformers, so that a sentence is not cut.
        device (`torch.device`, defaults to the CPU): Where to run.
        dtype (`str`, defaults to `auto`): See `pick_dtype`.
        revision (`str`, *optional*): Branch, tag or commit on the Hub.
        trust_remote_code (`bool`, defaults to `False`): Run model code that comes with the weights.

    Raises:
        KnowledgeError: The model cannot be loaded.

    Example:
        >>> captioner = TransformersCaptioner(device=torch.device("cuda"))  # doctest: +SKIP
        >>> captioner.caption([picture])  # doctest: +SKIP
        ['a large group of people standing in front of a stage']
    """

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        *,
        prompt: str = "",
        max_new_tokens: int = 40,
        device: torch.device | None = None,
        dtype: str = "auto",
        revision: str | None = None,
        trust_remote_code: bool = False,
    ):
        if max_new_tokens < 1:
            raise SettingError(f"max_new_tokens is {max_new_tokens}.", fix="It is at least 1.")
        self.device = device or torch.device("cpu")
        self.dtype = pick_dtype(dtype, self.device)
        self.max_new_tokens = max_new_tokens
        source = {"revision": revision, "trust_remote_code": trust_remote_code}
        try:
            config = AutoConfig.from_pretrained(model, **source)
            self.processor: Any = None
            self.tokenizer: Any = None
            if config.model_type == "vision-encoder-decoder":
                self.image_processor = AutoImageProcessor.from_pretrained(model, **source)
                self.tokenizer = AutoTokenizer.from_pretrained(model, **source)
            else:
                self.processor = AutoProcessor.from_pretrained(model, **source)
                self.tokenizer = self.processor.tokenizer
            self.model = AutoModelForImageTextToText.from_pretrained(
                model, dtype=self.dtype, use_safetensors=True, **source
            )
        except (OSError, ValueError, ImportError, AttributeError, KeyError) as error:
            raise KnowledgeError(
                f"The captioning model cannot be loaded: {str(error).strip().splitlines()[0]}",
                place=model,
                fix="Name an image-text-to-text or image-to-text model with safetensors weights.",
            ) from error
        self.model.to(self.device).eval()
        if self.processor is None and prompt:
            raise SettingError(
                "A vision-encoder-decoder model takes no prompt.", place="--prompt", fix="Leave it out."
            )
        self.is_chat = self.processor is not None and bool(self.processor.chat_template)
        self.prompt = prompt or (DEFAULT_CHAT_PROMPT if self.is_chat else "")
        self.tokenizer.padding_side = "left"  # a decoder goes on from the end of its prompt
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token

    def caption(self, images: Sequence["Image.Image"]) -> list["str | ImageProblem"]:
        """Caption a batch of RGB pictures of any sizes; one line of text per picture, or why there is none.

        Raises:
            KnowledgeError: The device runs out of memory.
        """
        try:
            inputs = self._inputs(images)
        except (ValueError, TypeError, RuntimeError, ZeroDivisionError, IndexError) as error:
            if len(images) > 1:  # one odd shape must not cost its neighbours their captions
                return [answer for image in images for answer in self.caption([image])]
            return [ImageProblem("not accepted by the model", f"{type(error).__name__}: {error}")]
        try:
            with torch.inference_mode():
                tokens = self.model.generate(**inputs, max_new_tokens=self.max_new_tokens, do_sample=False)
        except torch.OutOfMemoryError as error:
            raise KnowledgeError(
                f"A batch of {len(images)} pictures does not fit in memory.",
                fix="Give a smaller --batch-size; what was captioned so far is kept.",
            ) from error
        prompt_ids = inputs.get("input_ids")
        if prompt_ids is not None:
            # some models repeat the prompt before their answer, others do not
            length = prompt_ids.shape[1]
            if tokens.shape[1] >= length and torch.equal(tokens[:, :length], prompt_ids):
                tokens = tokens[:, length:]
        texts = self.tokenizer.batch_decode(tokens, skip_special_tokens=True)
        return [one_line(text, "" if self.is_chat else self.prompt) for text in texts]

    def _inputs(self, images: Sequence["Image.Image"]) -> dict[str, torch.Tensor]:
        if self.processor is None:
            encoded = self.image_processor(images=list(images), return_tensors="pt")
        elif self.is_chat:
            content = [{"type": "image"}, {"type": "text", "text": self.prompt}]
            text = self.processor.apply_chat_template(
                [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
            )
            encoded = self.processor(
                images=[[image] for image in images], text=[text] * len(images), padding=True, return_tensors="pt"
            )
        elif self.prompt:
            encoded = self.processor(
                images=list(images), text=[self.prompt] * len(images), padding=True, return_tensors="pt"
            )
        else:
            encoded = self.processor(images=list(images), return_tensors="pt")
        return {
            name: value.to(self.device, self.dtype) if value.is_floating_point() else value.to(self.device)
            for name, value in encoded.items()
        }


def one_line(text: str, prompt: str = "") -> "str | ImageProblem":
    """A caption on one line without the prompt that it goes on from, or the problem that there is none."""
    text, prompt = " ".join(text.split()), " ".join(prompt.split())
    if prompt and text.lower().startswith(prompt.lower()):  # BLIP repeats it between other special tokens
        text = text[len(prompt) :].strip()
    return text or ImageProblem("empty caption", "the captioner answered with no text")
