"""Run transformers' own common tests for models and configurations on the classes of this package.

    python tests/compatibility/run.py

They are in the source distribution of the installed version, on PyPI and not in the wheel; it is fetched into a
temporary folder, and nothing of it stays. What each class of the package skips, and why, stands in `common_tests.py`.
Arguments go to pytest, such as `-k TokenClassification`. The exit code is pytest's.
"""

import collections
import os
import subprocess
import sys
import tarfile
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import transformers

HERE = Path(__file__).parent
NOT_IN_THE_DISTRIBUTION = {
    "exporters/test_export.py": "class ExportTesterMixin:\n    pass\n",
    "generation/test_utils.py": "class GenerationTesterMixin:\n    pass\n",
    "utils/test_configuration_utils.py": "config_common_kwargs = {}\n",
}
"""Imported by the common tests and left out of the distribution. The first is about exporting (other tests cover
ONNX), the second about text generation, the third about configurations without a nested one; none applies here."""


def fetch(folder: Path) -> Path:
    """The tests of the installed version, as the package `transformers_tests` in a folder."""
    wanted = f"transformers=={transformers.__version__}"
    pip = [sys.executable, "-m", "pip"]
    source = ["--no-deps", "--no-binary", "transformers", "--no-build-isolation"]
    subprocess.run([*pip, "download", "-q", *source, "-d", folder, wanted], check=True)
    subprocess.run([*pip, "install", "-q", "--target", folder / "site", "parameterized"], check=True)
    package = folder / "site" / "transformers_tests"
    package.mkdir()
    (distribution,) = folder.glob("transformers-*.tar.gz")
    with tarfile.open(distribution) as archive:
        for member in archive:
            parts = Path(member.name).parts
            if len(parts) == 3 and parts[1] == "tests" and parts[2].endswith(".py") and member.isfile():
                content = archive.extractfile(member)
                assert content is not None
                (package / parts[2]).write_bytes(content.read())
    for name, text in NOT_IN_THE_DISTRIBUTION.items():
        path = package / name
        path.parent.mkdir(exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text(text, "utf-8")
    (package / "__init__.py").touch()
    return folder / "site"


def main(arguments: list[str]) -> int:
    with tempfile.TemporaryDirectory(prefix="common-tests-") as name:
        folder = Path(name)
        site = fetch(folder)
        report = folder / "report.xml"
        paths = [str(site), str(HERE.parent), os.environ.get("PYTHONPATH", "")]
        options = ["-q", "-p", "no:cacheprovider", "-c", os.devnull, "--import-mode=importlib", "-W", "ignore"]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *options, f"--junitxml={report}", HERE / "common_tests.py", *arguments],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "HF_HUB_OFFLINE": "1"},
            check=False,
        )
        if report.is_file():
            summarize(report)
    return done.returncode


def summarize(report: Path) -> None:
    """Print how many passed, were skipped with which reason, and failed."""
    counts: collections.Counter = collections.Counter()
    reasons: collections.Counter = collections.Counter()
    for case in ElementTree.parse(report).iter("testcase"):
        kinds = {child.tag for child in case}
        outcome = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        counts[outcome] += 1
        if outcome == "skipped":
            reasons[next(child.get("message", "") for child in case if child.tag == "skipped")] += 1
    print("\nSkipped:")
    for reason, count in reasons.most_common():
        print(f"{count:4}  {reason}")
    print(f"\ntransformers {transformers.__version__}: {dict(counts)}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
