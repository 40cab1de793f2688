"""What the documents tell a reader to type is what the code takes.

Every command is parsed by the parser that it is for, so that a renamed option fails. What runs quickly on the
fictional sample corpus is run, in the order of the document; what does not is named in `NOT_RUN` with the reason.
"""

import ast
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml
from support.document_blocks import DOCUMENTS, ROOT, Block, all_commands, blocks, commands, words
from support.published_files import write_published
from support.stub_server import StubServer
from transformers import HfArgumentParser

from experiments import __main__ as experiments
from experiments import cases, llm_baseline
from modeling_cotpd.cli.main import app
from modeling_cotpd.errors import SettingError
from modeling_cotpd.training.arguments import DataArguments, ModelArguments, parse_arguments
from modeling_cotpd.training.training_args import CoTPDTrainingArguments

HUB, INSTALLS, GPUS = "needs a model on the Hub", "installs packages", "needs several GPUs"
NOT_RUN = {
    "make ": "the workflows run each of them",
    "pip ": INSTALLS,
    "hf download": HUB,
    "cotpd teacher": "serves until Ctrl-C; tests/knowledge/test_local_teacher.py runs it",
    "cotpd demo": "serves until Ctrl-C; tests/cli/test_models.py runs it",
    "cotpd elicit posts.jsonl --out explained": "asks the server of the command above it",
    "cotpd caption --images pictures --out captions.jsonl": HUB,
    "cotpd caption --images pictures --data data/twitter2017": HUB,
    "accelerate launch --no_python cotpd caption": HUB,
    "accelerate launch run_mner.py configuration/mner.yaml configuration/encoders": HUB,
    "accelerate launch run_mner.py configuration/mner.yaml configuration/lora.yaml": HUB,
    "accelerate launch --config_file configuration/accelerate/multi_gpu": GPUS,
    "accelerate launch --multi_gpu": GPUS,
    "torchrun": "needs a processor per process; tests/inference/test_run.py runs two processes",
    "accelerate launch run_mner.py configuration/mner.yaml configuration/knowledge.yaml --dataset_dir": "in a loop",
    "accelerate launch run_mner.py configuration/mner.yaml configuration/student.yaml --dataset_dir": (
        "learns from three models; tests/training/test_run.py runs it"
    ),
    "cotpd train mner text_only --dataset_dir data/twitter2017-labelled": "reads what the command above it writes",
    "cotpd predict outputs/student --input - --threshold": "reads its standard input; a test of predict runs it",
    "cotpd learn entities.jsonl": "reads answers of a run that asks; a test of predict runs it",
    "cotpd knowledge label": "needs more labelled posts; tests/knowledge/test_list_labels_folder.py runs it",
    "cotpd knowledge summarize": HUB,
    "cotpd knowledge batch-read out": "reads what a batch service has answered",
    "cotpd elicit shards/ --out explained": "writes what a batch service has answered",
    "python -m experiments configuration/experiments/table3.yaml --source raw # run": "trains for hours",
    "python -m experiments configuration/experiments/table3.yaml --tables": "belongs to the run above it",
    "python -m experiments --write": "tests/experiments/test_document.py runs it",
    "python -m experiments --check": "tests/experiments/test_document.py runs it",
    "python -m experiments.cases": "needs two runs; tests/experiments/test_cases.py runs it",
    "hf auth login": "asks for a token",
    "cotpd push": "tests/cli/test_models.py runs it against a stand-in for the Hub",
}
PYTHON_NOT_RUN = {"push_to_hub": "uploads"}
"""A python block is left out when it holds this."""

ELSEWHERE = {"hf", "uvicorn", "export"}
"""Commands of other projects, which have no parser here."""

SMALL = "--max_train_samples 16 --max_eval_samples 8 --max_predict_samples 8 --num_train_epochs 1 --max_length 64"
SUBSTITUTIONS = {
    " --download": "",
    "http://127.0.0.1:8000/v1": "ENDPOINT",
    "me/cotpd-twitter2017": "outputs/twitter2017_minilm",
    r"(run_mner\.py(?: \S+\.yaml)+|cotpd train(?: [a-z_]+)+)": rf"\1 {SMALL}",
}
"""Patterns in commands, and what they become when they are run: no network, the stub as endpoint, small trainings."""


SETTINGS = (ModelArguments, DataArguments, CoTPDTrainingArguments)
OTHER_OPTIONS = {
    "--help",
    "--install-completion",
    "--show-completion",
    "--version",
    "--config_file",  # accelerate launch
    "--num_processes",
    "--num-processes",
    "--nproc-per-node",  # torchrun
    "--no_python",  # accelerate launch
    "--no-deps",  # pip
    "--use_prompt",  # HVPNeT
}
"""Options that the prose names and that belong to all commands, or to another program."""


def reason_not_to_run(command: str) -> str | None:
    return next((reason for begin, reason in NOT_RUN.items() if command.startswith(begin)), None)


def parse(command: list[str]) -> None:
    """Let the parser read a command that it is for.

    Raises:
        Exception: Whatever the parser raises.
    """
    program, arguments = command[0], command[1:]
    if program in ("python", "accelerate", "torchrun"):
        parse_launch(program, arguments)
    elif program == "cotpd":
        parse_cotpd(arguments)
    elif program in ("run_mner.py", "run_mre.py"):
        assert (ROOT / program).is_file()
        # a machine without a GPU takes bf16 only with use_cpu
        parse_arguments(SETTINGS, [*arguments, "--use_cpu", "true"])
    elif program == "make":
        assert re.search(rf"^{arguments[0]}:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE), arguments
    elif program == "pip":
        check_extras(arguments)
    else:
        assert program in ELSEWHERE, f"nothing here knows how to read {program}"


def parse_launch(program: str, arguments: list[str]) -> None:
    if program == "python":
        if arguments[0] == "-m":
            module = {"experiments": "experiments.__main__"}.get(arguments[1], arguments[1])
            imported = importlib.import_module(module)
            if hasattr(imported, "app"):
                typer.main.get_command(imported.app).make_context(module, arguments[2:])
            else:
                imported.parser().parse_args(arguments[2:])
            return
        if arguments[0].endswith(".py") and (ROOT / arguments[0]).is_file() and not arguments[0].startswith("run_"):
            return
        parse(arguments)
        return
    if program == "accelerate":
        from accelerate.commands.launch import launch_command_parser

        assert arguments[0] == "launch"
        parsed = launch_command_parser().parse_args(arguments[1:])
        assert parsed.config_file is None or (ROOT / parsed.config_file).is_file(), parsed.config_file
    else:
        from torch.distributed.run import get_args_parser

        parsed = get_args_parser().parse_args(arguments)
    parse([parsed.training_script, *parsed.training_script_args])


def parse_cotpd(arguments: list[str]) -> None:
    command = typer.main.get_command(app)
    path = "cotpd"
    while below := getattr(command, "commands", None):
        if not arguments or arguments[0].startswith("--"):
            break
        assert arguments[0] in below, f"{path} has no command {arguments[0]}"
        path, command, arguments = f"{path} {arguments[0]}", below[arguments[0]], arguments[1:]
    if not {"--help", "--install-completion", "--version"} & set(arguments):
        command.make_context(path, list(arguments))


def check_extras(arguments: list[str]) -> None:
    known = (ROOT / "setup.cfg").read_text("utf-8").split("[options.extras_require]")[1].split("[mypy]")[0]
    for argument in arguments:
        if match := re.fullmatch(r"(?:\.|modeling_cotpd)\[([\w,-]+)\]", argument):
            for extra in match[1].split(","):
                assert re.search(rf"^{extra} =$", known, re.MULTILINE), f"there is no extra {extra}"


@pytest.mark.parametrize(("document", "command"), all_commands())
def test_every_command_is_parsed(document, command, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    parse(words(command))


@pytest.mark.parametrize(
    "command",
    [
        "cotpd check data --no-such-option",
        "cotpd no-such-command",
        "cotpd elicit posts.jsonl --out x",
        "accelerate launch --no_such_option run_mner.py configuration/sample_mner.yaml",
        "make no-such-target",
        "pip install '.[no-such-extra]'",
        "some-other-program",
    ],
)
def test_a_command_that_does_not_exist_is_noticed(command, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(BaseException):  # noqa: B017 - argparse exits, typer and assert raise
        parse(words(command))


def test_an_unknown_setting_is_noticed(monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(SettingError, match="no_such_setting"):
        parse(words("accelerate launch run_mner.py configuration/sample_mner.yaml --no_such_setting 1"))


def known_options() -> set[str]:
    """Of all commands and entry points, in both spellings of a switch."""
    found = {flag for action in HfArgumentParser(SETTINGS)._actions for flag in action.option_strings}
    found |= {
        flag for each in (experiments, cases) for action in each.parser()._actions for flag in action.option_strings
    }
    waiting = [typer.main.get_command(app), typer.main.get_command(llm_baseline.app)]
    while waiting:
        command = waiting.pop()
        waiting += getattr(command, "commands", {}).values()
        for parameter in command.params:
            found |= {*parameter.opts, *parameter.secondary_opts}
    return found | OTHER_OPTIONS


def test_options_named_in_the_prose_exist():
    known = known_options()
    for path in DOCUMENTS:
        for span in re.findall(r"`([^`\n]*--[^`\n]*)`", FENCED.sub("", path.read_text("utf-8"))):
            for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", span):
                assert option in known, f"{path.relative_to(ROOT)} names {option}, which no command has"


def test_every_reason_is_still_needed():
    texts = [command for _, command in all_commands()]
    unused = [begin for begin in NOT_RUN if not any(text.startswith(begin) for text in texts)]
    assert not unused


def test_commands_stand_in_bash_blocks():
    for path in DOCUMENTS:
        for block in blocks(path):
            if block.language == "":
                first = block.text.split(" ")[0]
                assert first not in ("cotpd", "python", "accelerate", "torchrun", "pip", "make"), block


def test_python_blocks_are_python():
    for path in DOCUMENTS:
        for block in blocks(path):
            if block.language == "python":
                ast.parse(block.text)
            if block.language == "json":
                for line in block.text.splitlines():
                    json.loads(line)


def test_links_lead_somewhere():
    for path in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", FENCED.sub("", path.read_text("utf-8"))):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


def test_tests_that_a_page_names_exist():
    for path in DOCUMENTS:
        for name in re.findall(r"`(tests/[\w/]+\.py)`", path.read_text("utf-8")):
            assert (ROOT / name).is_file(), f"{path.name} names {name}"


GENERATED = re.compile(r"<!-- experiments:.*?<!-- end of experiments -->", re.DOTALL)


def count_words(path: Path) -> int:
    """Words between white space, without the tables that are made from saved runs."""
    return len(GENERATED.sub("", path.read_text("utf-8")).split())


def test_the_documents_stay_short():
    assert len((ROOT / "README.md").read_text("utf-8").split()) <= 900
    assert sum(map(count_words, DOCUMENTS)) <= 15_000


def test_the_readme_has_the_numbers_of_the_results():
    results = (ROOT / "docs" / "results.md").read_text("utf-8")
    text = (ROOT / "README.md").read_text("utf-8").split("## Results")[1].split("## More")[0]
    shown = re.findall(r"[+-]?\d+\.\d", text)
    assert len(shown) >= 8
    for number in shown:
        assert re.search(rf"\|{re.escape(number)}(±| [\[(])", results), f"docs/results.md lacks README's {number}"


def test_every_page_stands_in_the_navigation_once():
    waiting, found = [yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"]], []
    while waiting:
        entry = waiting.pop()
        if isinstance(entry, str):
            found.append(entry)
        else:
            waiting += entry.values() if isinstance(entry, dict) else entry
    assert sorted(found) == sorted(path.relative_to(ROOT / "docs").as_posix() for path in DOCUMENTS[1:])


FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


# What follows runs the commands.


def write_inputs(folder: Path) -> None:
    """Posts, pairs, shards, pictures and a corpus, as the documents name them."""
    from PIL import Image

    posts = [{"id": str(number), "text": f"Varro Quill signs for Lindmere Athletic {number}"} for number in range(4)]
    text = "".join(json.dumps(post) + "\n" for post in posts)
    pair = json.dumps({"id": "a", "text": "Maya Stone moved to Harlow", "head": [0, 10], "tail": [20, 26]})
    (folder / "posts.jsonl").write_text(text, "utf-8")
    for name, content in (("shards", text), ("pairs", pair + "\n")):
        (folder / name).mkdir()
        (folder / name / "a.jsonl").write_text(content, "utf-8")
    (folder / "pictures").mkdir()
    Image.new("RGB", (8, 8), "red").save(folder / "pictures" / "a.png")
    (folder / "my_posts").mkdir()
    for split in ("train", "validation", "test"):
        shutil.copy(ROOT / f"modeling_cotpd/data/sample/mner.{split}.jsonl", folder / "my_posts" / f"{split}.jsonl")
    import pyarrow
    import pyarrow.parquet

    passages = [{"text": f"Lindmere is a town of number {number}."} for number in range(9)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(passages), folder / "wikipedia.parquet")


def write_entry_points(folder: Path) -> None:
    for name in ("run_mner.py", "run_mre.py", "configuration", "examples", "experiments", "docs"):
        (folder / name).symlink_to(ROOT / name)


def shell(command: str, folder: Path, base_url: str) -> subprocess.CompletedProcess:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "HF_HUB_OFFLINE": "1",
        "ACCELERATE_USE_CPU": "true",
        "OMP_NUM_THREADS": "1",
        "OPENAI_API_KEY": "none",
        "OPENAI_BASE_URL": base_url,
    }
    return subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def as_it_is_run(text: str, base_url: str) -> str:
    for pattern, replacement in SUBSTITUTIONS.items():
        text = re.sub(pattern, replacement, text)
    return text.replace("ENDPOINT", base_url)


def run(command: str, folder: Path, base_url: str) -> None:
    done = shell(command, folder, base_url)
    assert done.returncode == 0, f"{command}\n{done.stdout[-1500:]}\n{done.stderr[-3000:]}"


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> dict[str, Path]:
    """Prepared folders and trained models that documents take as given, by the path that they name."""
    folder = tmp_path_factory.mktemp("trained")
    write_entry_points(folder)
    write_published(folder / "raw/twitter2017")
    small, columns = f"{SMALL} --disable_tqdm true", "--knowledge_columns caption cot_noun"
    for command in (
        "cotpd prepare twitter2017 --source raw/twitter2017 --out data/twitter2017",
        "cotpd prepare sample-mner --out data/sample_mner",
        "cotpd prepare sample-mre --out data/sample_mre",
        f"python run_mner.py configuration/sample_mner.yaml {small} {columns} --output_dir outputs/mner",
        f"python run_mre.py configuration/sample_mre.yaml {small} --output_dir outputs/mre",
    ):
        done = shell(command, folder, "")
        assert done.returncode == 0, done.stderr[-3000:]
    mner, mre = folder / "outputs/mner", folder / "outputs/mre"
    return {
        "data/twitter2017": folder / "data/twitter2017",
        "data/twitter2017-explained": folder / "data/twitter2017",
        "outputs/demo/mner": mner,
        "outputs/demo/mre": mre,
        "outputs/tutorial": mner,
        "outputs/student": mner,
        "outputs/inline": mner,
        "outputs/twitter2017_minilm": mner,
        "outputs/mnre_minilm": mre,
    }


MADE_BY_ITSELF = {
    "README.md": {"data/twitter2017", "outputs/student"},
    "docs/tutorial.md": {"outputs/tutorial"},
    "docs/settings.md": {"outputs/twitter2017_minilm"},
    "docs/knowledge.md": {"data/twitter2017-explained"},
    "docs/few_labels.md": {"data/twitter2017-explained"},
}
"""What a document's own commands make, and is not given to it."""


def wanted(block: Block) -> list[str]:
    """The commands of a block that are run; a python block is one."""
    if block.language == "python":
        return [] if any(word in block.text for word in PYTHON_NOT_RUN) else [block.text]
    return [command for command in commands(block) if reason_not_to_run(command) is None]


def documents_to_run() -> list[Path]:
    return [
        path
        for path in DOCUMENTS
        if any(wanted(block) for block in blocks(path) if block.language in ("bash", "python"))
    ]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("path", documents_to_run(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_can_be_run_runs(path, trained, tmp_path):
    name = path.relative_to(ROOT).as_posix()
    write_entry_points(tmp_path)
    write_published(tmp_path / "raw/twitter2017")
    write_published(tmp_path / "raw/twitter2015", {"MISC": "OTHER"})
    write_inputs(tmp_path)
    for given, source in trained.items():
        if given not in MADE_BY_ITSELF.get(name, ()):
            (tmp_path / given).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / given).symlink_to(source)
    with StubServer() as server:
        for block in blocks(path):
            if block.language == "python" and wanted(block):
                (tmp_path / "block.py").write_text(as_it_is_run(block.text, server.base_url), "utf-8")
                run("python block.py", tmp_path, server.base_url)
            elif block.language == "bash":
                for command in wanted(block):
                    run(as_it_is_run(command, server.base_url), tmp_path, server.base_url)
