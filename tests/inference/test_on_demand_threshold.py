"""A threshold is chosen from counts per post, and read back from the model's folder."""

import json
from pathlib import Path

import numpy as np
import pytest

from modeling_cotpd.errors import SettingError
from modeling_cotpd.inference.on_demand import choose_threshold, f1_curve, stored_threshold, write_threshold


def test_f1_and_threshold_by_hand(tmp_path: Path):
    prompt = np.array([[0, 1, 1], [1, 1, 1], [0, 0, 2], [1, 1, 1]])
    knowledge = np.array([[1, 1, 1], [1, 1, 1], [2, 2, 2], [1, 1, 1]])
    uncertainty = np.array([2.0, 0.5, 1.0, 0.1])
    curve = f1_curve(prompt, knowledge, np.argsort(-uncertainty))
    assert curve.tolist() == pytest.approx([2 * 2 / 8, 2 * 3 / 8, 1, 1, 1])
    assert choose_threshold(uncertainty, prompt, knowledge, 1.0) == (0.75, 0.5)
    assert choose_threshold(uncertainty, prompt, knowledge, 0.5) == (1.5, 0.25)
    assert choose_threshold(uncertainty, knowledge, knowledge) == (2.0, 0.0)
    write_threshold(tmp_path, 0.75, 0.5)
    assert stored_threshold(tmp_path) == 0.75 and json.loads((tmp_path / "on_demand.json").read_text())["share"] == 0.5
    with pytest.raises(SettingError, match="cotpd threshold"):
        stored_threshold(tmp_path / "nowhere")
