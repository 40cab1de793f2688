"""Pictures to words with a vision model behind an OpenAI-compatible endpoint."""

import base64
import io
import json
import os
from typing import TYPE_CHECKING, Any

import openai

from modeling_cotpd.errors import KnowledgeError, SettingError
from modeling_cotpd.knowledge.images import ImageProblem

if TYPE_CHECKING:
    from PIL import Image

DEFAULT_PROMPT = "Describe the image in one sentence."


class EndpointCaptioner:
    """A vision model that is asked over HTTP, one picture per request, temperature 0.

    The client retries 429 (as long as Retry-After asks), 5xx and dropped connections. `caption` may be called from
    several threads.

    Args:
        model (`str`): The model's name at the endpoint.
        base_url (`str`): Such as `http://127.0.0.1:8000/v1`.
        prompt (`str`, defaults to `DEFAULT_PROMPT`): The instruction beside the picture.
        max_new_tokens (`int`, defaults to 100): Sent as `max_tokens`; ours, since such models write longer sentences.
        max_side (`int`, defaults to 1024): Larger pictures are scaled down to this many pixels before they are sent;
            ours, chosen because most endpoints scale to about that or bill by size.
        key_variable (`str`, defaults to `OPENAI_API_KEY`): The environment variable that holds the key. A local
            server without keys needs none.
        max_retries (`int`, defaults to 5): For each request.
        timeout (`float`, defaults to 120): Seconds for each try.

    Raises:
        SettingError: The endpoint is OpenAI's and the key's variable is empty.
    """

    def __init__(
        self,
        model: str,
        base_url: str,
        *,
        prompt: str = "",
        max_new_tokens: int = 100,
        max_side: int = 1024,
        key_variable: str = "OPENAI_API_KEY",
        max_retries: int = 5,
        timeout: float = 120.0,
    ):
        self._key = os.environ.get(key_variable, "")
        if not self._key and "api.openai.com" in base_url:
            raise SettingError("The endpoint needs a key.", place=key_variable, fix=f"Run: export {key_variable}=...")
        self.model, self.prompt, self.max_side = model, prompt or DEFAULT_PROMPT, max_side
        self.max_new_tokens = max_new_tokens
        self._client = openai.OpenAI(
            base_url=base_url, api_key=self._key or "none", max_retries=max_retries, timeout=timeout
        )

    def caption(self, image: "Image.Image") -> "str | ImageProblem":
        """Ask for one picture's caption.

        Args:
            image (`PIL.Image.Image`): An RGB picture.

        Returns:
            `str | ImageProblem`: One line of text, or why there is none: `endpoint`, `refused` or `empty caption`.

        Raises:
            KnowledgeError: The endpoint rejects the key or does not know the model, so that no picture would succeed.
        """
        content: Any = [
            {"type": "text", "text": self.prompt},
            {"type": "image_url", "image_url": {"url": self._data_url(image)}},
        ]
        try:
            answer = self._client.chat.completions.create(
                model=self.model,
                messages=[{"role": "user", "content": content}],
                temperature=0,
                max_tokens=self.max_new_tokens,
            )
            message = answer.choices[0].message
        except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError) as error:
            raise KnowledgeError(
                f"The endpoint refuses every request (status {error.status_code}).",
                place=str(self._client.base_url),
                fix="Check the key's environment variable, the base URL and the model's name.",
            ) from None
        except (openai.APIError, json.JSONDecodeError, AttributeError, IndexError, TypeError) as error:
            # the last four are answers whose body is no chat completion
            return ImageProblem("endpoint", self._without_key(f"{type(error).__name__}: {error}"[:300]))
        if message.refusal:
            return ImageProblem("refused", message.refusal[:300])
        text = " ".join((message.content or "").split())
        return text or ImageProblem("empty caption", f"finish reason {answer.choices[0].finish_reason}")

    def _data_url(self, image: "Image.Image") -> str:
        image = image.copy()
        image.thumbnail((self.max_side, self.max_side))
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=90)
        return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text
