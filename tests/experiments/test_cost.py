"""What a run costs."""

from modeling_cotpd.experiments.cost import rows_read, spoken


def test_rows_read():
    assert rows_read(1500, {"num_train_epochs": 5}) == 7500
    assert rows_read(1500, {"num_train_epochs": 5, "max_steps": -1}) == 7500
    assert rows_read(1500, {"num_train_epochs": 5, "max_steps": 300, "per_device_train_batch_size": 16}) == 4800
    assert rows_read(0, {"max_steps": 300}) == 0, "an evaluation trains on nothing"


def test_spoken():
    assert [spoken(seconds) for seconds in (None, 40, 780, 7500)] == ["unknown", "40 s", "13 min", "2 h 05 min"]
