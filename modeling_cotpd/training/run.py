"""The steps of a run that both run scripts share: what is checked, trained, evaluated and written."""

import logging
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import datasets
import transformers
from accelerate import PartialState
from datasets import Dataset, DatasetDict
from transformers import PreTrainedTokenizerBase, set_seed
from transformers.trainer_utils import get_last_checkpoint

from modeling_cotpd.data.prepared import DatasetInfo
from modeling_cotpd.data.views import ViewSettings, build_features
from modeling_cotpd.encoder_cotpd import check_weights
from modeling_cotpd.errors import SettingError, as_setting_error, interruptible
from modeling_cotpd.files import read_object, write_json
from modeling_cotpd.modeling_cotpd import CoTPDPreTrainedModel
from modeling_cotpd.text_safety import without_secrets
from modeling_cotpd.training.arguments import DataArguments, ModelArguments
from modeling_cotpd.training.frozen_teachers import add_targets
from modeling_cotpd.training.model_card import encoder_label, write_model_card
from modeling_cotpd.training.pretrained import add_lora, record_views, record_words, views_within
from modeling_cotpd.training.results import (
    RESULTS_FILE,
    changed_settings,
    claim_output_dir,
    made,
    output_folder,
    run_results,
    summary,
    training_settings,
    write_predictions,
)
from modeling_cotpd.training.splits import filled_columns
from modeling_cotpd.training.tasks import Task
from modeling_cotpd.training.trainer import CoTPDTrainer
from modeling_cotpd.training.training_args import CoTPDTrainingArguments

logger = logging.getLogger(__name__)

RESUMABLE = ("trainer_state.json", "optimizer.pt", "scheduler.pt")
"""What a checkpoint needs, beside the model, for training to go on as if it had not stopped."""


@contextmanager
def started(args: CoTPDTrainingArguments) -> Iterator[None]:
    """Set up logging, and hold the output folder until all processes are done.

    Raises:
        Interrupted: After Ctrl-C.
    """
    level = args.get_process_log_level()
    logging.basicConfig(level=level, format="%(message)s")
    transformers.utils.logging.set_verbosity(max(level, logging.WARNING))
    if not sys.stderr.isatty():  # bars that move fill a log file
        args.disable_tqdm = True
        datasets.disable_progress_bars()
        transformers.utils.logging.disable_progress_bar()
    kept = partial(_kept, args.output_dir)
    with interruptible(kept), output_folder(args.output_dir, writes=args.process_index == 0), writable_cache():
        yield
        # gloo may abort a process whose partner leaves first
        PartialState().wait_for_everyone()


def _kept(output_dir: str) -> str:
    """What an interrupted run keeps, and how to go on."""
    if (last := get_last_checkpoint(output_dir)) is not None:
        return f"{last} is kept. Go on from it with --resume_from_checkpoint true."
    if made(output_dir):
        return f"{output_dir} holds a model and no checkpoint. Begin again with --overwrite_output_dir true."
    return "no checkpoint is kept. The same command begins again."


@contextmanager
def writable_cache() -> Iterator[None]:
    """Let `datasets` use a temporary folder where its cache cannot be written, such as in a read-only home."""
    usual = datasets.config.HF_DATASETS_CACHE
    try:
        Path(usual).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=usual):
            pass
    except OSError as error:
        logger.warning("The cache %s cannot be written (%s), so a temporary one is used.", usual, error.strerror)
        with tempfile.TemporaryDirectory(prefix="cotpd-") as folder:
            datasets.config.HF_DATASETS_CACHE = Path(folder)
            try:
                yield
            finally:
                datasets.config.HF_DATASETS_CACHE = usual
        return
    yield


def check_settings(model_args: ModelArguments, data_args: DataArguments, args: CoTPDTrainingArguments) -> None:
    """Refuse combinations that would train or read nothing."""
    if not (args.do_train or args.do_eval or args.do_predict):
        raise SettingError("The run neither trains nor evaluates.", fix="Name a recipe, such as mner or mre.")
    if args.eval_views == "knowledge" and not data_args.knowledge_columns:
        raise SettingError("eval_views=knowledge needs knowledge_columns.", fix="Use eval_views=prompt.")
    if model_args.distill_from == []:
        raise SettingError("A student needs finished models that teach it.", fix="Name them in --distill_from.")
    if model_args.distill_from and args.eval_views == "knowledge":
        raise SettingError("With distill_from the student has no knowledge view.", fix="Use eval_views=prompt.")
    if args.do_train and model_args.distill_from:
        view = model_args.distill_from_view
        if args.alpha == 0:
            message = "alpha=0 leaves the teachers of distill_from without effect."
            raise SettingError(message, fix="Give a positive alpha.")
        if view not in ("knowledge", "prompt"):
            raise SettingError(f"distill_from_view must be one of knowledge, prompt, got {view!r}.")
        if view == "knowledge" and not data_args.knowledge_columns:
            fix = "Name the columns that the teachers were trained with, or give distill_from_view=prompt."
            raise SettingError("distill_from reads the knowledge view, but knowledge_columns is empty.", fix=fix)
    if args.prediction_loss_only and (args.do_eval or args.do_predict):
        raise SettingError("prediction_loss_only leaves no predictions to score.", fix="Leave it out.")
    taught = model_args.distill_from or args.alpha or args.prompt_nll_weight or not data_args.knowledge_columns
    if args.do_train and not taught and model_args.prompt_type != "none":
        message = "alpha=0 without prompt_nll_weight trains the knowledge view alone and leaves the prompt untrained."
        raise SettingError(message, fix="Give prompt_type=none, or a positive alpha.")


def learns_from_labels(model_args: ModelArguments, data_args: DataArguments, args: CoTPDTrainingArguments) -> bool:
    """Whether a run trains on gold labels alone: without a KL term, rows without labels teach nothing."""
    return args.do_train and not (args.alpha > 0 and (model_args.distill_from or data_args.knowledge_columns))


def claim(
    info: DatasetInfo, model_args: ModelArguments, data_args: DataArguments, args: CoTPDTrainingArguments
) -> dict:
    """Make the output folder this run's own, and set the seed. See `claim_output_dir` for what is refused.

    Returns:
        What defines the run: the settings that change its outcome, not where or how verbosely it runs.
    """
    data = {name: value for name, value in vars(data_args).items() if name != "overwrite_output_dir"}
    settings = {**vars(model_args), **data, **training_settings(args)}
    if args.process_index == 0:
        claimed = settings | changed_settings(args) | {"gold_hash": info.splits}
        claim_output_dir(args.output_dir, claimed, bool(args.resume_from_checkpoint), data_args.overwrite_output_dir)
    set_seed(args.seed)
    return settings


def view_settings(
    model: CoTPDPreTrainedModel, model_args: ModelArguments, data_args: DataArguments, splits: DatasetDict
) -> ViewSettings:
    """The views of a run, within what the encoder can read.

    Columns that no row fills are left out. With frozen teachers, only they read knowledge.
    """
    asked = [] if model_args.distill_from else data_args.knowledge_columns
    columns = filled_columns(splits.values(), asked)
    placement = data_args.knowledge_placement if columns else "appended"
    views = views_within(model, columns, data_args.max_length, placement)
    if views.max_length < data_args.max_length:
        logger.warning(
            "The encoder reads %d subword tokens, so knowledge views end there: max_length.", views.max_length
        )
    if asked and not columns:
        logger.warning(
            "The data has no captions and no explanations, so the model trains on the text alone, in one view. "
            "Add them with `cotpd caption`, `cotpd elicit` and `cotpd prepare`."
        )
    return views


def make_trainer(
    task: Task,
    model: CoTPDPreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    splits: DatasetDict,
    model_args: ModelArguments,
    data_args: DataArguments,
    args: CoTPDTrainingArguments,
) -> CoTPDTrainer:
    """The Trainer of a run: LoRA and the targets of frozen teachers where asked."""
    views = view_settings(model, model_args, data_args, splits)
    if args.eval_views == "knowledge" and not views.knowledge_columns:
        raise SettingError("eval_views=knowledge, but no row has knowledge.", fix="Use eval_views=prompt.")
    train: Dataset | None = None
    if args.do_train:
        if "validation" not in splits and str(args.eval_strategy.value) != "no":
            fix = "Prepare one, or add --eval_strategy no --load_best_model_at_end false."
            raise SettingError("There is no validation split to evaluate while training.", fix=fix)
        if "train" not in splits:
            raise SettingError("There is no training split.", fix="Prepare one, or drop do_train.")
        record_views(model, views)
        with args.main_process_first(desc="subword tokens"):
            train = build_features(splits["train"], tokenizer, views, data_args.preprocessing_num_workers)
            if model_args.distill_from:
                train = add_targets(train, splits["train"], task, model_args, data_args, args)
        record_words(model, tokenizer, splits["train"])
    with as_setting_error():
        return CoTPDTrainer(
            model=add_lora(model, model_args, task.adds_tokens) if model_args.lora_r else model,
            args=args,
            train_dataset=train,
            eval_dataset=splits.get("validation"),
            processing_class=tokenizer,
            views=views,
        )


def checkpoint_to_resume(args: CoTPDTrainingArguments) -> str | None:
    """The checkpoint that `resume_from_checkpoint` means, checked to be whole; `None` to start at step 0."""
    resume = args.resume_from_checkpoint
    if resume == "true":
        resume = get_last_checkpoint(args.output_dir)
        if resume is None:
            logger.warning("There is no checkpoint in %s yet: training starts at step 0.", args.output_dir)
    if resume is None:
        return None
    if not Path(resume).is_dir():
        raise SettingError("There is no such checkpoint.", place=resume, fix="Use resume_from_checkpoint=true.")
    check_weights(resume)
    for name in RESUMABLE:
        path = Path(resume) / name
        if not path.is_file():
            message = f"The checkpoint has no {name}, so training cannot resume from it."
            raise SettingError(message, place=resume, fix="Start a new run from its weights: --model_name_or_path.")
        if not (read_object(path) if path.suffix == ".json" else zipfile.is_zipfile(path)):  # cut: no end
            fix = "Resume from an earlier checkpoint."
            raise SettingError(f"The checkpoint's {name} is cut or damaged.", place=resume, fix=fix)
    return resume


def train(trainer: CoTPDTrainer) -> None:
    """Train, resume if asked, and save the model."""
    trainer.train(resume_from_checkpoint=checkpoint_to_resume(trainer.args))
    trainer.save_model()


def evaluate(trainer: CoTPDTrainer, splits: DatasetDict) -> None:
    """Predict the splits that `do_eval` and `do_predict` ask for, and write `predictions.SPLIT.jsonl`."""
    args = trainer.args
    for name, asked in (("validation", args.do_eval), ("test", args.do_predict)):
        if asked and name in splits:
            trainer.predict(splits[name], metric_key_prefix=name)
            if trainer.is_world_process_zero():
                path = Path(args.output_dir) / f"predictions.{name}.jsonl"
                write_predictions(path, splits[name], trainer.evaluations[name])


def finish(trainer: CoTPDTrainer, info: DatasetInfo, settings: dict, splits: DatasetDict) -> dict:
    """Write `results.json` and the model card, publish where asked, and print the scores.

    Returns:
        What `results.json` holds: scores per split and view, data, seed, versions.
    """
    args, views = trainer.args, trainer.views
    trainer.facts = {
        "encoder": encoder_label(settings["model_name_or_path"]),
        "dataset": vars(info),
        "knowledge_columns": list(views.knowledge_columns) if views else [],
        "knowledge_placement": views.placement if views else "appended",
        "train_rows": len(splits["train"]) if args.do_train else 0,
        "settings": settings,
    }
    results = without_secrets(run_results(trainer))
    folder = Path(args.output_dir)
    if args.process_index == 0:
        write_json(folder / RESULTS_FILE, results)
        write_model_card(folder, results, folder.absolute().name)
        print(summary(results, folder), flush=True)
    if args.push_to_hub:
        trainer.push_to_hub()
    return results
