"""The public workflows: they parse, run targets that exist, and cover the versions that the package declares."""

import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
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
