"""One run from recipe to results, the same for both tasks: data -> model -> trainer -> results.json."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import transformers
from datasets import Dataset, DatasetDict
from peft import PeftModel
from transformers import AutoConfig, PreTrainedConfig, PreTrainedTokenizerBase, set_seed
from transformers.dynamic_module_utils import custom_object_save
from transformers.trainer_utils import get_last_checkpoint

from modeling_cotpd.arguments import DataArguments, ModelArguments
from modeling_cotpd.averaging import average_if_better, check_averaging
from modeling_cotpd.collator import CoTPDCollator
from modeling_cotpd.configuration_cotpd import CoTPDConfig
from modeling_cotpd.data.prepared import DatasetInfo
from modeling_cotpd.data.splits import load_splits
from modeling_cotpd.data.views import ViewSettings, build_features
from modeling_cotpd.data.words import continuing_tokens, split_at_words
from modeling_cotpd.distillation_targets import TeacherReading, add_targets
from modeling_cotpd.encoder_cotpd import refuse_pickle
from modeling_cotpd.encoders import is_cotpd_checkpoint, load_finished_model, load_tokenizer, resolve_encoder
from modeling_cotpd.errors import SettingError
from modeling_cotpd.evaluation import by_view, decode, highest_label, score
from modeling_cotpd.lora import add_lora
from modeling_cotpd.markers_cotpd import add_entity_markers
from modeling_cotpd.model_card import encoder_label, write_model_card
from modeling_cotpd.modeling_cotpd import CoTPDForRelationExtraction, CoTPDPreTrainedModel
from modeling_cotpd.pipeline_cotpd import RELATION_PIPELINE, RelationExtractionPipeline
from modeling_cotpd.results import RESULTS_FILE, claim_output_dir, environment, write_json, write_predictions
from modeling_cotpd.saving import staged
from modeling_cotpd.trainer import CoTPDTrainer
from modeling_cotpd.training_args import CoTPDTrainingArguments

logger = logging.getLogger(__name__)

CHECKPOINT_SETTINGS = (
    "prompt_type", "prompt_length", "prompt_layers", "prompt_attention_heads", "use_crf", "classifier_dropout"
)  # fmt: skip
"""Model settings that a CoTPD checkpoint brings with it, whatever the recipe says."""


def run(
    task: str,
    model_class: type[CoTPDPreTrainedModel],
    model_args: ModelArguments,
    data_args: DataArguments,
    args: CoTPDTrainingArguments,
) -> dict:
    """Train and evaluate once, and leave model, tokenizer, results, predictions and model card in `args.output_dir`.

    Args:
        task (`str`): `"mner"` or `"mre"`.
        model_class (`type`): `CoTPDForTokenClassification` or `CoTPDForRelationExtraction`.

    Returns:
        What `results.json` holds: scores per split and view, data, seed, versions.

    Raises:
        CoTPDError: Data, settings or output folder can not be used; the message says why and what to do.
    """
    logging.basicConfig(level=args.get_process_log_level(), format="%(message)s")
    transformers.utils.logging.set_verbosity(args.get_process_log_level())
    check_settings(model_args, data_args, args)
    splits, info = load_splits(data_args, task)
    if args.process_index == 0:
        settings = run_settings(model_args, data_args, args) | {"gold_hash": info.splits}
        claim_output_dir(args.output_dir, settings, bool(args.resume_from_checkpoint), data_args.overwrite_output_dir)
    set_seed(args.seed)
    model, tokenizer = load_model(task, model_class, model_args, info)
    views, features = make_features(splits, model, tokenizer, model_args, data_args, args)
    trainer = make_trainer(splits, features, info, tokenizer, args, model=with_lora(model, task, model_args))
    train_metrics = train(trainer, args) if args.do_train else {}
    wanted = (("validation", args.do_eval), ("test", args.do_predict))
    scored = {
        name: evaluate(trainer, name, splits[name], features[name])
        for name, asked in wanted
        if asked and name in splits
    }
    results = {
        "task": task,
        "encoder": encoder_label(model_args.model_name_or_path),
        "dataset": vars(info),
        "reading": "words",
        "knowledge_columns": list(views.knowledge_columns),
        "knowledge_placement": views.placement,
        "train_rows": len(splits["train"]) if args.do_train else 0,
        "seed": args.seed,
        "splits": scored,
        "training": train_metrics,
        "settings": run_settings(model_args, data_args, args),
        **environment(),
    }
    if args.process_index == 0:
        write_json(Path(args.output_dir) / RESULTS_FILE, results)
        write_model_card(Path(args.output_dir), results)
    if args.push_to_hub:
        trainer.push_to_hub()
    return results


def check_settings(model_args: ModelArguments, data_args: DataArguments, args: CoTPDTrainingArguments) -> None:
    """Refuse combinations that would train or read nothing."""
    if args.eval_views == "knowledge" and not data_args.knowledge_columns:
        raise SettingError("eval_views=knowledge needs knowledge_columns.", fix="Use eval_views=prompt.")
    if model_args.distill_from and args.eval_views == "knowledge":
        raise SettingError("With distill_from the student has no knowledge view.", fix="Use eval_views=prompt.")
    if args.do_train and model_args.distill_from and args.alpha == 0:
        raise SettingError("alpha=0 leaves the teachers of distill_from without effect.", fix="Give a positive alpha.")
    if args.do_train and args.average_checkpoints:
        check_averaging(args, lora=bool(model_args.lora_r))
    untaught = (
        not model_args.distill_from
        and args.alpha == 0
        and args.prompt_nll_weight == 0
        and bool(data_args.knowledge_columns)
    )
    if args.do_train and untaught and model_args.prompt_type != "none":
        raise SettingError(
            "alpha=0 without prompt_nll_weight trains the knowledge view alone and leaves the prompt untrained.",
            fix="Give prompt_type=none, or a positive alpha.",
        )


def run_settings(model_args: ModelArguments, data_args: DataArguments, args: CoTPDTrainingArguments) -> dict:
    """What defines a run: the settings that change its outcome, not where or how verbosely it runs."""
    recorded = (
        "seed", "data_seed", "learning_rate", "new_parameters_learning_rate", "num_train_epochs", "max_steps",
        "per_device_train_batch_size", "gradient_accumulation_steps", "warmup_steps", "weight_decay", "max_grad_norm",
        "alpha", "alpha_schedule", "temperature", "detach_knowledge_view", "prompt_nll_weight", "prompt_view_masking",
        "average_checkpoints", "eval_views", "bf16", "fp16", "metric_for_best_model", "load_best_model_at_end",
    )  # fmt: skip
    data = {name: value for name, value in vars(data_args).items() if name != "overwrite_output_dir"}
    training = {name: getattr(args, name) for name in recorded}
    return {**vars(model_args), **data, **training, "lr_scheduler_type": str(args.lr_scheduler_type)}


def load_model(
    task: str, model_class: type[CoTPDPreTrainedModel], arguments: ModelArguments, info: DatasetInfo
) -> tuple[CoTPDPreTrainedModel, PreTrainedTokenizerBase]:
    """A model and tokenizer from a plain encoder, or from a CoTPD checkpoint that is trained on or evaluated.

    Raises:
        SettingError: The checkpoint's labels are not those of the data, or N leaves no room for text.
    """
    hub = hub_arguments(arguments)
    source = resolve_encoder(arguments.model_name_or_path)
    loading = {**hub, "attn_implementation": arguments.attn_implementation}
    tokenizer = load_tokenizer(source, **hub)
    if is_cotpd_checkpoint(source, **hub):
        model = load_finished_model(source, model_class, info.label_names, hub, arguments.attn_implementation)
        for name in CHECKPOINT_SETTINGS:  # what the run records is what it used
            setattr(arguments, name, getattr(model.config, name))
    else:
        if arguments.encoder_config_overrides:
            loading["config"] = changed_encoder_config(source, arguments.encoder_config_overrides, hub)
        try:
            config = CoTPDConfig(
                prompt_type=arguments.prompt_type,
                prompt_length=arguments.prompt_length,
                prompt_layers=arguments.prompt_layers,
                prompt_attention_heads=arguments.prompt_attention_heads,
                use_crf=arguments.use_crf,
                classifier_dropout=arguments.classifier_dropout,
                id2label=dict(enumerate(info.label_names)),
                label2id={name: index for index, name in enumerate(info.label_names)},
            )
            model = model_class.from_encoder(source, config=config, encoder_kwargs=loading)
        except ValueError as error:
            raise SettingError(str(error)) from error
        try:
            split_at_words(tokenizer)
        except ValueError as error:
            raise SettingError(str(error), place=arguments.model_name_or_path) from error
        if task == "mre":
            model.config.custom_pipelines = RELATION_PIPELINE
            add_entity_markers(tokenizer)
            model.resize_token_embeddings(len(tokenizer))
        else:
            model.read_words(continuing_tokens(tokenizer))
    limit = model.get_base_model().max_text_length
    if limit is not None:
        tokenizer.model_max_length = limit
    return model, tokenizer


def hub_arguments(arguments: ModelArguments) -> dict[str, Any]:
    """What every loading from the Hub or a folder gets."""
    return {
        "revision": arguments.model_revision,
        "cache_dir": arguments.cache_dir,
        "trust_remote_code": arguments.trust_remote_code,
    }


def changed_encoder_config(source: str, changes: str, hub: dict[str, Any]) -> PreTrainedConfig:
    """A plain encoder's configuration with `name=value,...` over it.

    Raises:
        SettingError: A name or a value does not fit the configuration.
    """
    config = AutoConfig.from_pretrained(source, **hub)
    try:
        config.update_from_string(changes)
    except (TypeError, ValueError) as error:
        raise SettingError(
            f"encoder_config_overrides={changes!r} does not fit a {type(config).__name__}: {error}",
            fix="Give names of its configuration, as in attention_probs_dropout_prob=0.0,hidden_dropout_prob=0.1.",
        ) from error
    return config


def with_lora(model: CoTPDPreTrainedModel, task: str, arguments: ModelArguments) -> CoTPDPreTrainedModel | PeftModel:
    """The model, with LoRA if the run asks for it."""
    return add_lora(model, arguments, new_vocabulary=task == "mre") if arguments.lora_r else model


def make_features(
    splits: DatasetDict,
    model: CoTPDPreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    model_args: ModelArguments,
    data_args: DataArguments,
    args: CoTPDTrainingArguments,
) -> tuple[ViewSettings, dict[str, Dataset]]:
    """The views of a run and the features of every split; with frozen teachers, knowledge is theirs to read."""
    views = view_settings(model, data_args, () if model_args.distill_from else data_args.knowledge_columns)
    if args.do_train:
        model.config.knowledge_columns = list(views.knowledge_columns)
        model.config.knowledge_placement = views.placement
        model.config.knowledge_max_length = views.max_length
    with args.main_process_first(desc="word pieces"):
        features = {
            name: build_features(split, tokenizer, views, data_args.preprocessing_num_workers)
            for name, split in splits.items()
        }
        if model_args.distill_from and args.do_train and "train" in splits:
            features["train"] = add_targets(
                features["train"],
                splits["train"],
                model_args.distill_from,
                type(model),
                teacher_reading(model_args, data_args, args),
                hub_arguments(model_args),
            )
    return views, features


def make_trainer(
    splits: DatasetDict,
    features: dict[str, Dataset],
    info: DatasetInfo,
    tokenizer: PreTrainedTokenizerBase,
    args: CoTPDTrainingArguments,
    **model: Any,
) -> CoTPDTrainer:
    """The Trainer of a run, with `model=...` or, for a search, `model_init=...`."""
    return CoTPDTrainer(
        **model,
        args=args,
        data_collator=CoTPDCollator(tokenizer.pad_token_id, 8 if args.device.type == "cuda" else None),
        train_dataset=features.get("train"),
        eval_dataset=features.get("validation"),
        processing_class=tokenizer,
        compute_metrics=validation_metrics(splits, features, args) if "validation" in splits else None,
        preprocess_logits_for_metrics=highest_label,
    )


def view_settings(model: CoTPDPreTrainedModel, arguments: DataArguments, columns: Sequence[str]) -> ViewSettings:
    """The views of a run, within what the encoder can read."""
    base = model.get_base_model()
    max_length = min(arguments.max_length, base.max_positions or arguments.max_length)
    if max_length < arguments.max_length:
        logger.warning("The encoder reads %d pieces, so knowledge views end there: max_length.", max_length)
    return ViewSettings(tuple(columns), max_length, base.max_text_length, arguments.knowledge_placement)


def teacher_reading(
    model_args: ModelArguments, data_args: DataArguments, args: CoTPDTrainingArguments
) -> TeacherReading:
    """How this run's frozen teachers read."""
    return TeacherReading(
        view=model_args.distill_from_view,
        knowledge_columns=tuple(data_args.knowledge_columns),
        max_length=data_args.max_length,
        batch_size=args.per_device_eval_batch_size,
        device=str(args.device),
        bf16=args.bf16,
    )


def validation_metrics(splits: DatasetDict, features: dict[str, Dataset], args: CoTPDTrainingArguments):
    """`compute_metrics` for the validation split: the numbers of every view, named `prompt_f1`, `knowledge_f1`, ..."""

    def compute(prediction: transformers.EvalPrediction) -> dict[str, float]:
        metrics: dict[str, float] = {}
        for view, ids in by_view(prediction.predictions, args.eval_views).items():
            scores = score(decode(ids, features["validation"], splits["validation"]), splits["validation"])
            metrics |= {f"{view}_{name}": value for name, value in scores.items() if isinstance(value, int | float)}
        return metrics

    return compute


def train(trainer: CoTPDTrainer, args: CoTPDTrainingArguments) -> dict:
    """Train, resume if asked, and save; a LoRA run saves its adapter and the merged model."""
    if trainer.train_dataset is None:
        raise SettingError("There is no training split.", fix="Prepare one, or drop do_train.")
    resume = args.resume_from_checkpoint
    if resume == "true":
        resume = get_last_checkpoint(args.output_dir)
        if resume is None:
            logger.warning("There is no checkpoint in %s yet: training starts at step 0.", args.output_dir)
    if resume:
        refuse_pickle(resume)
    metrics = trainer.train(resume_from_checkpoint=resume).metrics
    if args.average_checkpoints:
        metrics |= average_if_better(trainer)
    adapted = trainer.accelerator.unwrap_model(trainer.model)
    if isinstance(adapted, PeftModel):
        if args.process_index == 0:
            with staged(Path(args.output_dir) / "adapter") as staging:
                adapted.save_pretrained(str(staging))
            adapted = adapted.merge_and_unload()
            with staged(args.output_dir) as staging:
                adapted.save_pretrained(staging)
                trainer.processing_class.save_pretrained(staging)
    else:
        trainer.save_model()
    if isinstance(adapted, CoTPDForRelationExtraction) and args.process_index == 0:
        # With it, pipeline("relation-extraction", folder) works on machines without this package
        pipeline = RelationExtractionPipeline(model=adapted, tokenizer=trainer.processing_class)
        with staged(args.output_dir) as staging:
            custom_object_save(pipeline, staging)
    return metrics


def evaluate(trainer: CoTPDTrainer, name: str, split: Dataset, features: Dataset) -> dict:
    """Scores of every view on a split; writes `predictions.<split>.jsonl`."""
    trainer.compute_metrics = None  # that of the validation split; scores are computed here
    output = trainer.predict(features)
    views = {
        view: decode(ids, features, split)
        for view, ids in by_view(output.predictions, trainer.args.eval_views).items()
    }
    if trainer.is_world_process_zero():
        write_predictions(Path(trainer.args.output_dir) / f"predictions.{name}.jsonl", split, views)
    return {view: score(rows, split) for view, rows in views.items()}
