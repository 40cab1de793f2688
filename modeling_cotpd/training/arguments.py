"""Arguments of the entry points, and recipes: YAML gives defaults, the command line wins, unknown keys are errors."""

import dataclasses
import runpy
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from transformers import HfArgumentParser
from transformers.hf_argparser import HfArg

from modeling_cotpd.configuration_cotpd import CoTPDConfig
from modeling_cotpd.data.prepared import read_info
from modeling_cotpd.data.schema import KNOWLEDGE_COLUMNS
from modeling_cotpd.data.views import check_columns
from modeling_cotpd.errors import SettingError, as_setting_error, did_you_mean
from modeling_cotpd.files import read_yaml
from modeling_cotpd.training.training_args import CoTPDTrainingArguments

SHIPPED = Path(__file__).parents[1] / "recipes"
"""Where an installed wheel has recipes and run scripts."""
CLONE = Path(__file__).parents[2]
"""Where a clone has them."""


@dataclass
class ModelArguments:
    """Which encoder, which prompt, which head. Defaults of prompt and head are those of `CoTPDConfig`."""

    model_name_or_path: str = HfArg(
        default="embedded-minilm", help="Encoder or CoTPD checkpoint: Hub name, folder, or embedded-minilm."
    )
    prompt_type: str = HfArg(default=CoTPDConfig.prompt_type, help="conditional, unconditional, prefix or none.")
    prompt_length: int = HfArg(default=CoTPDConfig.prompt_length, help="N.")
    prompt_layers: int = HfArg(default=CoTPDConfig.prompt_layers, help="Layers of a conditional prompt.")
    prompt_attention_heads: int = HfArg(
        default=CoTPDConfig.prompt_attention_heads, help="Heads of a conditional prompt."
    )
    use_crf: bool = HfArg(default=CoTPDConfig.use_crf, help="Linear-chain CRF head (MNER).")
    classifier_dropout: float = HfArg(default=CoTPDConfig.classifier_dropout, help="Dropout before the classifier.")
    encoder_config_overrides: str | None = HfArg(
        default=None, help="Changes to a plain encoder's configuration, such as attention_probs_dropout_prob=0.0,..."
    )
    attn_implementation: str | None = HfArg(default=None, help="sdpa, eager, flash_attention_2, ...")
    model_revision: str = HfArg(default="main", help="Revision on the Hub.")
    cache_dir: str | None = HfArg(default=None, help="Where downloaded models are kept.")
    trust_remote_code: bool = HfArg(default=False, help="Run code that a checkpoint brings.")
    distill_from: list[str] | None = HfArg(
        default=None,
        help="Finished models (folders or Hub names) whose mean distribution the prompt view learns instead of "
        "its own knowledge view's. They are frozen; knowledge_columns are what they read.",
    )
    distill_from_view: str = HfArg(
        default="knowledge", help="Which view of distill_from teaches: knowledge or prompt."
    )
    lora_r: int = HfArg(default=0, help="Rank of LoRA on the encoder; 0: full fine-tuning.")
    lora_alpha: int = HfArg(default=32, help="LoRA's alpha.")
    lora_dropout: float = HfArg(default=0.05, help="LoRA's dropout.")
    lora_target_modules: list[str] | None = HfArg(
        default=None, help="Names of the encoder's modules that get LoRA; default: all linear layers."
    )


@dataclass
class DataArguments:
    """Which prepared folder, which columns, how many rows."""

    dataset_dir: str = HfArg(help="A folder that `cotpd prepare` wrote.")
    unlabelled_dataset_dir: list[str] | None = HfArg(
        default=None, help="More prepared folders; their rows join training without their labels and teach by KL."
    )
    unlabelled_splits: list[str] = HfArg(
        default_factory=lambda: ["train"], help="The splits of those folders that join."
    )
    knowledge_columns: list[str] = HfArg(
        default_factory=lambda: list(KNOWLEDGE_COLUMNS),
        help="Columns of the knowledge view, in order; 'none' for text only.",
    )
    knowledge_placement: str = HfArg(
        default="appended",
        help="appended: knowledge behind the text, as in the paper; inline: each gloss of cot_noun behind its "
        "mention in the text, other columns behind the text.",
    )
    max_length: int = HfArg(default=512, help="The most subword tokens of a knowledge view.")
    max_train_samples: int | None = HfArg(
        default=None, help="Train on a random sample of this many rows, drawn with sample_seed."
    )
    max_labelled_samples: int | None = HfArg(
        default=None, help="Of the training sample, only this many rows keep their labels."
    )
    max_eval_samples: int | None = HfArg(default=None, help="The first rows of the validation split.")
    max_predict_samples: int | None = HfArg(default=None, help="The first rows of the test split.")
    sample_seed: int = HfArg(default=0, help="Seed of the training sample; not the training seed.")
    preprocessing_num_workers: int | None = HfArg(default=None, help="Processes for tokenization.")
    overwrite_output_dir: bool = HfArg(default=False, help="Replace another run in output_dir.")

    def __post_init__(self):
        if self.knowledge_columns == ["none"]:
            self.knowledge_columns = []
        check_columns(self.knowledge_columns)
        samples = ("max_train_samples", "max_labelled_samples", "max_eval_samples", "max_predict_samples")
        for name, least in {**dict.fromkeys(samples, 1), "sample_seed": 0, "preprocessing_num_workers": 0}.items():
            if getattr(self, name) is not None and getattr(self, name) < least:
                raise SettingError(f"{name} must be at least {least}, got {getattr(self, name)}.")


def read_recipe(path: str | Path, allowed: Sequence[str]) -> dict[str, Any]:
    """Read a YAML recipe.

    Raises:
        SettingError: The file is missing or not a mapping, or a key is not allowed; the nearest key is suggested.
    """
    recipe = read_yaml(path)
    for key in recipe:
        if key not in allowed:
            fix = did_you_mean(str(key), allowed, "Remove it.")
            raise SettingError(f"Unknown key {key!r:.80}.", place=str(path), fix=fix)
    return recipe


def find_recipe(name: str) -> Path:
    """The file of a recipe: a path, or the name of one that comes with the package."""
    path = Path(name)
    if path.is_file() or name.endswith((".yaml", ".yml")):
        return path
    folder = SHIPPED if SHIPPED.is_dir() else CLONE / "configuration"
    known = {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    if name not in known:
        fix = did_you_mean(name, known, f"The recipes are {', '.join(sorted(known))}.")
        raise SettingError(f"There is no recipe {name!r}.", fix=fix)
    return known[name]


def run_script(task: str) -> Path:
    """The run script of a task."""
    return (SHIPPED if SHIPPED.is_dir() else CLONE) / f"run_{task}.py"


def parse_run(argv: Sequence[str] | None = None) -> tuple[ModelArguments, DataArguments, CoTPDTrainingArguments]:
    """Parse `[RECIPE ...] [--flag value ...]` into the arguments of a run; see `parse_arguments`."""
    return parse_arguments((ModelArguments, DataArguments, CoTPDTrainingArguments), argv)


def parse_arguments(dataclass_types: Sequence[type], argv: Sequence[str] | None = None) -> tuple:
    """Parse `[RECIPE ...] [--flag value ...]` into one instance of every dataclass.

    A recipe is a file or the name of one that comes with the package. A later recipe overrides an earlier one, and
    flags override both.

    Args:
        dataclass_types (`Sequence[type]`): Such as `(ModelArguments, DataArguments, CoTPDTrainingArguments)`.
        argv (`Sequence[str]`, *optional*): Defaults to the command line.

    Raises:
        SettingError: The recipe is missing or has an unknown key, a flag is unknown, or a value is out of range.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = HfArgumentParser(tuple(dataclass_types), usage="[RECIPE ...] [--flag value ...]", allow_abbrev=False)
    parser.error = _refuse  # type: ignore[method-assign]
    recipe: dict[str, Any] = {}
    allowed = [f.name for kind in dataclass_types for f in dataclasses.fields(kind) if f.init]
    while argv and not argv[0].startswith("-"):
        recipe |= read_recipe(find_recipe(argv.pop(0)), allowed)
    for action in parser._actions:
        if action.dest in recipe:
            value = recipe[action.dest]
            if action.nargs == "+" and isinstance(value, str):
                value = [value]  # a list of one
            elif isinstance(value, int | float) and action.type not in (None, type(value)):
                value = str(value)  # argparse converts strings alone, and reports what it cannot convert
            action.default, action.required = value, False
    with as_setting_error("command line"):
        *parsed, unknown = parser.parse_args_into_dataclasses(argv, return_remaining_strings=True)
    if unknown:
        flags = [flag for action in parser._actions for flag in action.option_strings]
        fix = did_you_mean(unknown[0], flags, "Recipes come first, flags after them.")
        raise SettingError(f"Unknown argument {unknown[0]!r}.", place="command line", fix=fix)
    return tuple(parsed)


def _refuse(message: str) -> NoReturn:
    """In place of argparse's usage of many lines."""
    raise SettingError(f"{message}.", place="command line", fix="All settings: cotpd train --settings")


def run_recipe(argv: Sequence[str]) -> dict:
    """Train and evaluate as `run_mner.py` or `run_mre.py` do; the data set says which.

    Args:
        argv (`Sequence[str]`): Recipes (files or names), then flags.

    Returns:
        What `results.json` holds.

    Raises:
        CoTPDError: Data, settings or output folder cannot be used; the message says why and what to do.

    Example:
        >>> results = run_recipe(["sample_mner", "--output_dir", "outputs/sample"])  # doctest: +SKIP
        >>> results["splits"]["test"]["prompt"]["f1"]  # doctest: +SKIP
        0.62
    """
    parsed = parse_run(argv)
    script = run_script(read_info(parsed[1].dataset_dir).task)
    return runpy.run_path(str(script))["run"](*parsed)
