"""The public workflows: they parse, run targets that exist, and cover the versions that the package declares."""

import configparser
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support.hub_stand_in import WRITER, HubStandIn
from support.published_files import write_published

ROOT = Path(__file__).parents[1]
MAKE_MODEL = ROOT / "examples" / "make_model.py"
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def read(name: str) -> dict:
    return yaml.safe_load((ROOT / ".github/workflows" / name).read_text("utf-8"))


def setup() -> configparser.ConfigParser:
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    return settings


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_jobs_are_complete(path):
    jobs = yaml.safe_load(path.read_text("utf-8"))["jobs"]
    for name, job in jobs.items():
        assert "uses" in job or {"runs-on", "steps", "timeout-minutes"} <= set(job), name
        needs = job.get("needs", [])
        assert ({needs} if isinstance(needs, str) else set(needs)) <= set(jobs), name


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_what_they_run_exists(path):
    text, makefile = path.read_text("utf-8"), (ROOT / "Makefile").read_text("utf-8")
    for target in re.findall(r"run: make ([\w-]+)", text):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for script in re.findall(r"(?:bash|python) (\.github/\S+)", text):
        assert (ROOT / script).is_file(), script


def test_every_declared_python_is_tested():
    declared = re.findall(r"Python :: (3\.\d+)", setup()["metadata"]["classifiers"])
    assert read("checks.yml")["jobs"]["tests"]["strategy"]["matrix"]["python"] == declared
    lowest, above = declared[0], f"3.{int(declared[-1].split('.')[1]) + 1}"
    assert setup()["options"]["python_requires"] == f">={lowest},<{above}"


def test_the_oldest_libraries_are_the_lower_bounds():
    done = subprocess.run(
        [sys.executable, str(ROOT / ".github/oldest.py")], capture_output=True, text=True, check=True
    )
    names = [line.split("==")[0] for line in done.stdout.splitlines()]
    assert names == re.findall(r"^([\w-]+)", setup()["options"]["install_requires"], re.MULTILINE)
    assert "transformers==5.23.*" in done.stdout.splitlines()


def test_only_the_publishing_job_may_publish():
    release = read("release.yml")
    assert release["permissions"] == {"contents": "read"}
    writers = [name for name, job in release["jobs"].items() if "id-token" in job.get("permissions", {})]
    assert writers == ["publish"] and release["jobs"]["publish"]["needs"] == "checks"


def test_a_release_publishes_a_model_of_each_data_set():
    job = read("release.yml")["jobs"]["models"]
    assert job["uses"] == "./.github/workflows/model.yml" and job["needs"] == "publish"
    model = read("model.yml")
    choices = model[True]["workflow_dispatch"]["inputs"]["data"]["options"]  # YAML reads the key `on` as true
    assert job["strategy"]["matrix"]["data"] == choices == list(runpy.run_path(str(MAKE_MODEL))["OTHER"])
    (steps,) = [each["steps"] for each in model["jobs"].values()]
    with_token = [step["name"] for step in steps if "HF_TOKEN" in step.get("env", {})]
    assert with_token == ["Publish"]


def commands_of_the_model(name: str) -> list[str]:
    """The commands of the workflow `model` with the Makefile's recipe in place of `make`."""
    (steps,) = [each["steps"] for each in read("model.yml")["jobs"].values()]
    commands = [step["run"] for step in steps if "run" in step]
    assert commands[0] == 'make model MODEL="$DATA"'
    recipe = re.search(r"^model:.*\n\t(.+)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)[1]
    commands[0] = recipe.replace("$(BIN)/python", "python").replace("$(MODEL)", name)
    return [command.replace(".venv/bin/", "") for command in commands]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_workflow_trains_and_publishes_a_model(tmp_path):
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    write_published(tmp_path / "raw/twitter2017")
    write_published(tmp_path / "raw/twitter2015", {"MISC": "OTHER"})
    for name in ("examples", "configuration"):
        (tmp_path / name).symlink_to(ROOT / name)
    small = "--no-download --max_steps 2 --eval_strategy no --save_strategy no --load_best_model_at_end false"
    small += " --max_predict_samples 4 --max_eval_samples 4 --per_device_train_batch_size 4 --disable_tqdm true"
    with HubStandIn() as hub:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        environment |= {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(tmp_path / "hf"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_TOKEN": WRITER,
            "DATA": "twitter2017",
            "NAMESPACE": "tester",
        }
        for command in commands_of_the_model("twitter2017"):
            command = command.replace("$(MODEL_FLAGS)", small)
            done = subprocess.run(
                ["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
        files = hub.files("tester/cotpd-twitter2017")
    wanted = {"model.safetensors", "modeling_cotpd.py", "README.md", "results.json", "onnx/model.onnx"}
    assert wanted <= set(files)
    assert not [name for name in files if name.startswith(("predictions", "checkpoint", "run.json"))]
    card = files["README.md"].decode()
    assert "sentence-transformers/all-MiniLM-L6-v2" in card and "# tester/cotpd-twitter2017" in card
