"""Train and evaluate CoTPD for multimodal named entity recognition.

    accelerate launch run_mner.py configuration/sample_mner.yaml --output_dir outputs/sample_mner

A YAML recipe gives the settings, flags after it win. `python run_mner.py --help` lists them all.
"""

import sys

from accelerate import PartialState

from modeling_cotpd import CoTPDForTokenClassification
from modeling_cotpd.arguments import DataArguments, ModelArguments, parse_arguments
from modeling_cotpd.errors import CoTPDError
from modeling_cotpd.training import run
from modeling_cotpd.training_args import CoTPDTrainingArguments


def main() -> None:
    model_args, data_args, training_args = parse_arguments((ModelArguments, DataArguments, CoTPDTrainingArguments))
    run("mner", CoTPDForTokenClassification, model_args, data_args, training_args)
    # gloo may abort a process whose partner leaves first
    PartialState().wait_for_everyone()
    PartialState().destroy_process_group()


if __name__ == "__main__":
    try:
        main()
    except (CoTPDError, OSError) as error:
        sys.exit(f"run_mner.py: {error}")
