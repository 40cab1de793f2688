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
        target, recipes = Path(self.build_lib) / "modeling_cotpd" / "recipes", ROOT / "configuration"
        for path in [*recipes.glob("*.yaml"), *recipes.glob("encoders/*.yaml")]:
            self.mkpath(str((target / path.relative_to(recipes)).parent))
            shutil.copy(path, target / path.relative_to(recipes))
        for task in ("mner", "mre"):
            shutil.copy(ROOT / f"run_{task}.py", target)


setup(cmdclass={"build_py": BuildWithRecipes})
