"""The models are known to transformers once the package is imported, in whatever order."""

import subprocess
import sys
from pathlib import Path

import pytest


def python(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("order", ["first", "last"])
def test_importing_the_package_registers_the_models(order):
    """Whichever is imported first; the README's use relies on it."""
    lines = ["import modeling_cotpd", "from transformers import AutoConfig, pipelines"]
    code = "\n".join(lines if order == "first" else reversed(lines))
    code += '\nprint(type(AutoConfig.for_model("cotpd")).__name__)'
    code += '\nprint("relation-extraction" in pipelines.PIPELINE_REGISTRY.get_supported_tasks())'
    assert python(code).split() == ["CoTPDConfig", "True"]


FLAT = sorted((Path(__file__).parents[1] / "modeling_cotpd").glob("*_cotpd.py"))
IMPORTS = [
    "modeling_cotpd",
    *(f"modeling_cotpd.{path.stem}" for path in FLAT),
    "modeling_cotpd.training.trainer",
    "modeling_cotpd.training.hub",
    "modeling_cotpd.inference.load",
]


@pytest.mark.parametrize("module", IMPORTS)
def test_whatever_is_imported_first(module):
    code = f"import {module}\nfrom transformers import AutoConfig, AutoModelForTokenClassification\n"
    code += 'config = AutoConfig.for_model("cotpd")\nprint(type(config).__name__)\n'
    code += "print(type(AutoModelForTokenClassification.from_config(config)).__module__)"
    assert python(code).split() == ["CoTPDConfig", "modeling_cotpd.modeling_cotpd"]


def test_the_import_alone_loads_neither_torch_nor_transformers():
    code = "import sys, modeling_cotpd\nprint(sorted({'torch', 'transformers', 'datasets'} & set(sys.modules)))\n"
    code += "from modeling_cotpd import CoTPDForTokenClassification\nfrom transformers import AutoConfig\n"
    code += 'print(type(AutoConfig.for_model("cotpd")).__name__)'
    assert python(code).split() == ["[]", "CoTPDConfig"]


def test_every_public_name_is_there():
    code = (
        "import modeling_cotpd\nfor name in modeling_cotpd.__all__:\n    assert getattr(modeling_cotpd, name), name\n"
    )
    code += "print(set(modeling_cotpd.__all__) <= set(dir(modeling_cotpd)))"
    assert python(code).split() == ["True"]


def test_an_unknown_name_of_the_package_is_an_attribute_error():
    code = "import modeling_cotpd\ntry:\n    modeling_cotpd.nothing\nexcept AttributeError as error:\n"
    assert "has no attribute 'nothing'" in python(code + "    print(error)")
