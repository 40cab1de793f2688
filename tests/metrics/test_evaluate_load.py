"""Both scores load through the evaluate library in a fresh process that cannot reach a network."""

import json
import os
import subprocess
import sys
from pathlib import Path

import modeling_cotpd.errors
from modeling_cotpd.metrics.entity_score.entity_score import entity_scores
from modeling_cotpd.metrics.relation_score.relation_score import relation_scores

SCRIPT = """
import json, socket, sys
def refuse(*arguments): raise AssertionError(f"a connection was tried: {arguments}")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
import evaluate
from modeling_cotpd.errors import DataError

folder, (tags, gold_tags), (labels, gold_labels) = sys.argv[1], *map(json.loads, sys.argv[2:])
entity = evaluate.load(f"{folder}/entity_score")
relation = evaluate.load(f"{folder}/relation_score")
try:
    entity.compute(predictions=[["O", "O"]], references=[["O"]])
    message = ""
except DataError as error:
    message = str(error)
entity = evaluate.load(f"{folder}/entity_score")
for predicted, gold in zip(tags, gold_tags):
    entity.add(prediction=predicted, reference=gold)
json.dump({
    "entity": entity.compute(),
    "relation": relation.compute(predictions=labels, references=gold_labels, none_label="no"),
    "message": message,
}, sys.stdout)
"""


def test_evaluate_loads_both_scores_offline(tmp_path):
    tags = [["B-PER", "O", "I-LOC"], ["B-LOC"], ["O"]], [["B-PER", "O", "B-LOC"], ["B-PER"], ["O"]]
    labels = ["near", "no", "near"], ["near", "near", "no"]
    root = Path(modeling_cotpd.errors.__file__).parents[1]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("HF_")},
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_OFFLINE": "1",
        "HF_EVALUATE_OFFLINE": "1",
        "PYTHONPATH": str(root),
    }
    command = [sys.executable, "-c", SCRIPT, str(root / "modeling_cotpd" / "metrics"), json.dumps(tags)]
    done = subprocess.run(
        [*command, json.dumps(labels)], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    loaded = json.loads(done.stdout)
    assert loaded["entity"] == entity_scores(*tags)
    assert loaded["entity"]["f1"] == 2 / 3 and loaded["entity"]["strict_f1"] == 0.4
    assert loaded["relation"] == relation_scores(*labels, none_label="no")
    assert loaded["message"].startswith("row 0: 2 predicted tags but 1 gold tags")
