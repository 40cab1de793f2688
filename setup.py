"""Puts recipes and run scripts, which lie at the root of a clone, into the wheel. All else is in setup.cfg."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent


class BuildWithRecipes(build_py):
    """`build_py` that also copies `configuration/*.yaml`, `run_mner.py` and `run_mre.py` into the package."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:  # the files of the clone are used
            return
        folder = Path(self.build_lib) / "modeling_cotpd" / "recipes"
        folder.mkdir(parents=True, exist_ok=True)
        for path in [*sorted((ROOT / "configuration").glob("*.yaml")), ROOT / "run_mner.py", ROOT / "run_mre.py"]:
            shutil.copy(path, folder / path.name)


setup(cmdclass={"build_py": BuildWithRecipes})
