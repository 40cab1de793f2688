"""Train and evaluate CoTPD for multimodal relation extraction.

    accelerate launch run_mre.py configuration/sample_mre.yaml --output_dir outputs/sample_mre

A YAML recipe gives the settings, flags after it win. `python run_mre.py --help` lists them all.
"""

from accelerate import PartialState

import modeling_cotpd.training.run as steps
from modeling_cotpd.cli.main import exit_code
from modeling_cotpd.training.arguments import DataArguments, ModelArguments, parse_run
from modeling_cotpd.training.pretrained import make_model, resolved
from modeling_cotpd.training.splits import load_splits
from modeling_cotpd.training.tasks import TASKS
from modeling_cotpd.training.training_args import CoTPDTrainingArguments

TASK = TASKS["mre"]


def run(model_args: ModelArguments, data_args: DataArguments, training_args: CoTPDTrainingArguments) -> dict:
    """Train and evaluate once; leave model, results, predictions and model card in `training_args.output_dir`.

    Returns:
        What `results.json` holds: scores per split and view, data, seed, versions.

    Raises:
        CoTPDError: Data, settings or output folder cannot be used; the message says why and what to do.
    """
    with steps.started(training_args):
        # 1. Arguments: a checkpoint brings its own prompt and head
        model_args = resolved(model_args)
        steps.check_settings(model_args, data_args, training_args)

        # 2. Data: records with relations, captions and explanations
        labelled_only = steps.learns_from_labels(model_args, data_args, training_args)
        splits, info = load_splits(data_args, TASK.name, labelled_only)
        settings = steps.claim(info, model_args, data_args, training_args)

        # 3. Model: an encoder with prompt and head, and its tokenizer
        model, tokenizer = make_model(TASK, model_args, info.label_names)

        # 4. Trainer: the two-view loss
        trainer = steps.make_trainer(TASK, model, tokenizer, splits, model_args, data_args, training_args)
        if training_args.do_train:
            steps.train(trainer)

        # 5. Results: predictions and scores of every view, the model card
        steps.evaluate(trainer, splits)
        return steps.finish(trainer, info, settings, splits)


def main() -> None:
    run(*parse_run())
    PartialState().destroy_process_group()


if __name__ == "__main__":
    raise SystemExit(exit_code(main, "run_mre.py"))
