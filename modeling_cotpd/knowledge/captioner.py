"""Pictures to words with a local model: BLIP-2 by default, any image-text-to-text or image-to-text model."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageTextToText, AutoProcessor, AutoTokenizer

from modeling_cotpd.errors import KnowledgeError, SettingError, check_at_least, check_choice, one_line
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
    """The number format: `auto` takes bfloat16 on a GPU that has it, float16 on any other GPU, float32 on a CPU."""
    check_choice(name, DTYPES, "--dtype")
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
        model (`str`, defaults to the paper's BLIP-2): A folder or a Hub name, such as a BLIP, LLaVA, Qwen-VL or
            vision-encoder-decoder model.
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
        check_at_least(max_new_tokens, 1, "--max-new-tokens")
        self.device = device or torch.device("cpu")
        self.dtype = pick_dtype(dtype, self.device)
        self.max_new_tokens = max_new_tokens
        source = {"revision": revision, "trust_remote_code": trust_remote_code}
        try:
            pictures_alone = AutoConfig.from_pretrained(model, **source).model_type == "vision-encoder-decoder"
            self.processor: Any
            self.tokenizer: Any
            if pictures_alone:
                self.processor = AutoImageProcessor.from_pretrained(model, **source)
                self.tokenizer = AutoTokenizer.from_pretrained(model, **source)
            else:
                self.processor = AutoProcessor.from_pretrained(model, **source)
                self.tokenizer = self.processor.tokenizer
            self.model = AutoModelForImageTextToText.from_pretrained(
                model, dtype=self.dtype, use_safetensors=True, **source
            )
        except (OSError, ValueError, ImportError, AttributeError, KeyError) as error:
            message = f"The captioning model cannot be loaded: {one_line(error)}"
            fix = "Name an image-text-to-text or image-to-text model with safetensors weights."
            raise KnowledgeError(message, place=model, fix=fix) from error
        self.model.to(self.device).eval()
        if pictures_alone and prompt:
            message = "A vision-encoder-decoder model takes no prompt."
            raise SettingError(message, place="--prompt", fix="Leave it out.")
        self.is_chat = not pictures_alone and bool(self.processor.chat_template)
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
            message = f"A batch of {len(images)} pictures does not fit in memory."
            fix = "Give a smaller --batch-size; what was captioned so far is kept."
            raise KnowledgeError(message, fix=fix) from error
        prompt_ids = inputs.get("input_ids")
        # some models repeat the prompt before their answer, others do not
        if prompt_ids is not None and torch.equal(tokens[:, : prompt_ids.shape[1]], prompt_ids):
            tokens = tokens[:, prompt_ids.shape[1] :]
        texts = self.tokenizer.batch_decode(tokens, skip_special_tokens=True)
        return [caption_line(text, "" if self.is_chat else self.prompt) for text in texts]

    def _inputs(self, images: Sequence["Image.Image"]) -> dict[str, torch.Tensor]:
        pictures: list = list(images)
        text = self.prompt
        if self.is_chat:
            content = [{"type": "image"}, {"type": "text", "text": self.prompt}]
            chat = [{"role": "user", "content": content}]
            text = self.processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
            pictures = [[image] for image in images]
        texts = {"text": [text] * len(images), "padding": True} if text else {}
        encoded = self.processor(images=pictures, return_tensors="pt", **texts)
        return {
            name: value.to(self.device, self.dtype) if value.is_floating_point() else value.to(self.device)
            for name, value in encoded.items()
        }


def caption_line(text: str, prompt: str = "") -> "str | ImageProblem":
    """A caption on one line without the prompt that it goes on from, or the problem that there is none."""
    text, prompt = " ".join(text.split()), " ".join(prompt.split())
    if prompt and text.lower().startswith(prompt.lower()):  # BLIP repeats it between other special tokens
        text = text[len(prompt) :].strip()
    return text or ImageProblem("empty caption", "the captioner answered with no text")
