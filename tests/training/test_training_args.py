"""Settings of the parent either have their effect or are refused at the start."""

import pytest
from transformers import TrainingArguments

from modeling_cotpd.errors import SettingError
from modeling_cotpd.training.training_args import FIXED, CoTPDTrainingArguments

OTHER = {
    "label_smoothing_factor": 0.1,
    "remove_unused_columns": True,
    "label_names": ["tags"],
    "eval_do_concat_batches": False,
    "batch_eval_metrics": True,
    "hub_strategy": "every_save",
    "use_liger_kernel": True,
}


@pytest.mark.parametrize("name", sorted(FIXED))
def test_a_setting_that_would_be_ignored_is_refused(tmp_path, name):
    with pytest.raises(SettingError, match=f"{name} must be .*Leave it out"):
        CoTPDTrainingArguments(str(tmp_path), use_cpu=True, **{name: OTHER[name]})
    assert CoTPDTrainingArguments(str(tmp_path), use_cpu=True, **{name: FIXED[name][0]})


def test_every_such_setting_is_one_of_the_parent():
    assert set(FIXED) <= set(TrainingArguments.__dataclass_fields__)


def test_no_label_names_are_the_labels(tmp_path):
    assert CoTPDTrainingArguments(str(tmp_path), use_cpu=True, label_names=None).label_names == ["labels"]
