"""The examples of the documents are fictional posts that the models of the demo have not seen and read rightly."""

import json
import os
import re
import runpy
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from support.document_blocks import DOCUMENTS, blocks

from modeling_cotpd.data.duplicates import find_pairs
from modeling_cotpd.demo.app import EXAMPLES

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "examples" / "demo.py"
NOTEBOOK = ROOT / "examples" / "tutorial.ipynb"
SAMPLE = ROOT / "modeling_cotpd" / "data" / "sample"
ENTITIES = {
    "Maya Stone moved to Harlow": [("PER", "Maya Stone"), ("LOC", "Harlow")],
    "Maya Stone moved to Harlow to play for Lindmere Athletic": [
        ("PER", "Maya Stone"), ("LOC", "Harlow"), ("ORG", "Lindmere Athletic")
    ],
    "Osk Harbour at the Tallow Rooms tonight , bring a coat": [("ORG", "Osk Harbour"), ("LOC", "Tallow Rooms")],
    "RT @nightbus : Osk Harbour sold out the Tallow Rooms again": [("ORG", "Osk Harbour"), ("LOC", "Tallow Rooms")],
    "So proud of the Fenwick Otters, see you in Brightwater !": [("ORG", "Fenwick Otters"), ("LOC", "Brightwater")],
    "Varro Quill signs": [("PER", "Varro Quill")],
    "Varro Quill signs for Lindmere Athletic": [("PER", "Varro Quill"), ("ORG", "Lindmere Athletic")],
    "can't believe @varroquill just signed for Lindmere Athletic": [
        ("PER", "varroquill"), ("ORG", "Lindmere Athletic")
    ],
    "can't believe @varroquill just signed for Lindmere Athletic !! # football": [
        ("PER", "varroquill"), ("ORG", "Lindmere Athletic")
    ],
}  # fmt: skip
"""What the student of the demo finds in each post."""
RELATIONS = {
    ("Maya Stone moved to Harlow", "Maya Stone", "Harlow"): "/per/loc/place_of_residence",
}
NAMES = {name for found in ENTITIES.values() for _, name in found}


def posts_in(code: str) -> set[str]:
    """Quoted strings that hold a name of an example and more."""
    return {
        text
        for text in re.findall(r'"([^"\n]*)"', code)
        if text not in NAMES and any(re.search(rf"\b{name}\b", text) for name in NAMES)
    }


def test_every_example_is_one_of_these():
    found = {example["text"] for example in EXAMPLES}
    demo = runpy.run_path(str(DEMO))
    found |= {*demo["POSTS"], demo["PAIR"]["text"]}
    for path in DOCUMENTS:
        for block in blocks(path):
            found |= posts_in(block.text)
    for cell in json.loads(NOTEBOOK.read_text("utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            found |= posts_in("".join(cell["source"]))
    assert found <= set(ENTITIES), found - set(ENTITIES)


@pytest.mark.parametrize("name", ["make_model.py", "make_sample.py"])
def test_the_imports_of_a_script_exist(name):
    assert "main" in runpy.run_path(str(ROOT / "examples" / name))


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_ctrl_c_in_the_demo_is_one_line(tmp_path):
    code = """
import os, runpy, signal, sys
from modeling_cotpd.training import arguments
signal.signal(signal.SIGINT, signal.default_int_handler)
arguments.run_recipe = lambda argv: os.kill(os.getpid(), signal.SIGINT)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
    command = [sys.executable, "-c", code, str(DEMO), "--output_dir", "out"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 130 and done.stderr.startswith("demo.py: Stopped.") and done.stderr.count("\n") == 1


def test_no_example_is_nearly_a_post_of_the_corpus():
    posts = [("example", text, text.split()) for text in ENTITIES]
    for path in SAMPLE.glob("*.jsonl"):
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        posts += [(path.name, row["id"], row["tokens"]) for row in rows]
    assert not [pair for pair in find_pairs(posts) if pair.a_split != pair.b_split]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """The folder of a finished demo."""
    folder = tmp_path_factory.mktemp("demo") / "out"
    done = subprocess.run([sys.executable, DEMO, "--output_dir", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Next: cotpd predict" in done.stdout
    return folder


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("names", [("mner_text", "mner", "mner_teacher"), ("mre", "mre_teacher")])
def test_a_student_lies_between_text_only_and_the_knowledge_view(trained, names):
    scores = []
    for name in names:
        results = json.loads((trained / name / "results.json").read_text("utf-8"))
        *_, view = results["splits"]["test"].values()  # of a teacher the one with knowledge
        scores.append(view["f1"])
    assert all(low < high for low, high in pairwise(scores)), scores


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_example_is_read_rightly(trained):
    from transformers import pipeline

    tagger = pipeline("token-classification", str(trained / "mner"), aggregation_strategy="simple")
    for post, expected in ENTITIES.items():
        assert [(e["entity_group"], post[e["start"] : e["end"]]) for e in tagger(post)] == expected, post
    post = "Osk Harbour at the Tallow Rooms tonight , bring a coat"  # as in the README
    found = pipeline("token-classification", str(trained / "mner_text"), aggregation_strategy="simple")(post)
    assert [(e["entity_group"], post[e["start"] : e["end"]]) for e in found] != ENTITIES[post]
    extractor = pipeline("relation-extraction", str(trained / "mre"), trust_remote_code=True)
    for (post, head, tail), expected in RELATIONS.items():
        spans = ((post.index(name), post.index(name) + len(name)) for name in (head, tail))
        assert extractor({"text": post, **dict(zip(("head", "tail"), spans, strict=True))})["label"] == expected, post
