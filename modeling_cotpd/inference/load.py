"""A trained model ready to predict: in PyTorch, or exported to ONNX."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from modeling_cotpd.configuration_cotpd import CoTPDConfig
from modeling_cotpd.data.schema import KNOWLEDGE_COLUMNS
from modeling_cotpd.data.views import ViewSettings
from modeling_cotpd.data.words import continuing_tokens
from modeling_cotpd.encoder_cotpd import resolve_encoder
from modeling_cotpd.errors import SettingError
from modeling_cotpd.inference.batches import BatchSettings
from modeling_cotpd.inference.onnx_model import ONNX_FILE, OnnxStudent
from modeling_cotpd.inference.predictor import EntityPredictor, Predictor, RelationPredictor
from modeling_cotpd.training.pretrained import check_tokenizer, load_config, load_finished_model, load_tokenizer
from modeling_cotpd.training.results import RUN_FILE, read_settings
from modeling_cotpd.training.tasks import TASK_OF_MODEL, TASKS

DTYPES = ("auto", "float32", "bfloat16", "float16")


def task_of_model(name_or_path: str, **hub) -> str:
    """`"mner"` or `"mre"`, as the model's configuration says."""
    folder = Path(resolve_encoder(name_or_path))
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise SettingError("The folder holds no model.", place=name_or_path, fix="Name a run's output folder.")
    config = load_config(name_or_path, **hub)
    for architecture in config.architectures or ():
        if architecture in TASK_OF_MODEL:
            return TASK_OF_MODEL[architecture]
    raise SettingError(
        f"This is a {config.model_type} model with architectures {config.architectures}, not a trained CoTPD model.",
        place=name_or_path,
        fix="Train one with run_mner.py or run_mre.py.",
    )


def usable_device(name: str | torch.device) -> torch.device:
    """Return a device that exists; `auto` is an accelerator where there is one, else the CPU."""
    if name == "auto":
        name = (torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None) or "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        message = f"The device {str(name)!r} cannot be used: {str(error).splitlines()[0].removesuffix('.')}."
        raise SettingError(message, place="--device", fix="Use auto or cpu.") from None
    return device


def load_predictor(
    name_or_path: str,
    *,
    task: str | None = None,
    onnx: bool = False,
    device: str | torch.device = "cpu",
    dtype: str = "auto",
    batches: BatchSettings | None = None,
    max_length: int | None = None,
    revision: str | None = None,
    knowledge_columns: Sequence[str] | None = None,
) -> tuple[Predictor, str]:
    """A predictor for a trained model, and its task.

    Args:
        name_or_path (`str`): A run's output folder or a Hub repository; with `onnx`, what `cotpd export` wrote.
        task (`str`, *optional*): `"mner"` or `"mre"`, where the model must be for it.
        onnx (`bool`, *optional*, defaults to `False`): Run the exported graph in ONNX Runtime, on the CPU.
        device (`str` or `torch.device`, *optional*, defaults to `"cpu"`): Where PyTorch runs; `"auto"` for an
            accelerator where there is one.
        dtype (`str`, *optional*, defaults to `"auto"`): `"float32"`, `"bfloat16"` or `"float16"`; by default as the
            weights were saved.
        batches (`BatchSettings`, *optional*): How much goes through the model at once.
        max_length (`int`, *optional*): The maximum number of subword tokens read at once. Defaults to the model's.
        revision (`str`, *optional*): Branch, tag or commit on the Hub.
        knowledge_columns (`Sequence[str]`, *optional*): What the knowledge view reads. Defaults to what the model was
            trained with, or to all columns where that is not recorded.

    Returns:
        The predictor, and `"mner"` or `"mre"`.

    Raises:
        SettingError: There is no such model, device or type of numbers, or the model or its tokenizer is of another
            kind.
        OSError: The model is not whole.
    """
    is_export = (Path(name_or_path) / ONNX_FILE).is_file()
    if onnx and not is_export:
        raise SettingError(
            f"There is no {ONNX_FILE} here.", place=name_or_path, fix="Make one with: cotpd export MODEL --out DIR"
        )
    if is_export and not onnx:
        raise SettingError("This is an exported model.", place=name_or_path, fix="Add --onnx.")
    if dtype not in DTYPES:
        raise SettingError(f"There is no dtype {dtype!r}.", place="--dtype", fix=f"Use {', '.join(DTYPES)}.")
    device = usable_device(device)
    hub: dict[str, Any] = {"revision": revision} if revision else {}
    found = task_of_model(name_or_path, **hub)
    if task not in (None, found):
        message = f"This is a model for {found}, and one for {task} is needed here."
        raise SettingError(message, place=name_or_path, fix="Name the model for entities (mner) or relations (mre).")
    tokenizer = load_tokenizer(name_or_path, **hub)
    model: PreTrainedModel
    if onnx:
        model = OnnxStudent.from_folder(name_or_path)
    else:
        model = load_finished_model(name_or_path, TASKS[found].model_class, dtype=dtype, **hub)
    check_tokenizer(tokenizer, model, TASKS[found], name_or_path)
    if not onnx:
        if found == "mner" and not model.continues_word.any():  # an adapter alone, for example, does not save them
            model.read_words(continuing_tokens(tokenizer), model.config.word_prefixes, model.config.word_hyphens)
        model = model.to(device)
        limit = model.get_base_model().max_text_length
        if limit is not None and limit < tokenizer.model_max_length:
            tokenizer.model_max_length = limit
    kind = EntityPredictor if found == "mner" else RelationPredictor
    return kind(
        model, tokenizer, batches, max_length, knowledge_settings(model.config, name_or_path, knowledge_columns)
    ), found


def knowledge_settings(config: CoTPDConfig, name_or_path: str, columns: Sequence[str] | None = None) -> ViewSettings:
    """What the knowledge view reads, as the model was trained: columns (or those given), placement and length.

    A model that was trained before the configuration recorded this has it in `run.json`.
    """
    recorded, length = config.knowledge_columns, config.knowledge_max_length
    path = Path(name_or_path) / RUN_FILE
    if recorded is None and path.is_file():
        run = read_settings(path)
        recorded, length = run.get("knowledge_columns"), run.get("max_length", length)
        if not isinstance(recorded or [], list) or not isinstance(length, int):
            raise SettingError("The file is not what a run writes.", place=str(path), fix="Copy the run again.")
    chosen = columns if columns is not None else recorded if recorded is not None else KNOWLEDGE_COLUMNS
    return ViewSettings(tuple(chosen), length, placement=config.knowledge_placement)
