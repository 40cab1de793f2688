"""The description of each task fits its data, its model and its score."""

import pytest

from modeling_cotpd.data.schema import LABEL_COLUMNS
from modeling_cotpd.training.tasks import TASKS


@pytest.mark.parametrize("name", TASKS)
def test_a_task(name):
    task = TASKS[name]
    assert task.name == name and name in LABEL_COLUMNS
    assert set(task.metrics) <= set(task.metric_names())
    assert {"precision", "recall", "f1"} <= set(task.metrics)
    perfect = {"mner": [["B-PER", "I-PER", "O"]], "mre": ["knows"]}[name]
    assert task.score(perfect, perfect)["f1"] == 1.0
