"""The models are known to transformers once the package is imported, in whatever order."""

import subprocess
import sys

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


def test_the_command_registers_the_models_when_one_is_asked_for():
    code = "import sys, cotpd_command, modeling_cotpd\nassert 'torch' not in sys.modules\n"
    code += "from modeling_cotpd import CoTPDForTokenClassification\nfrom transformers import AutoConfig\n"
    code += 'print(type(AutoConfig.for_model("cotpd")).__name__)'
    assert python(code).split() == ["CoTPDConfig"]


def test_an_unknown_name_of_the_package_is_an_attribute_error():
    code = "import cotpd_command, modeling_cotpd\ntry:\n    modeling_cotpd.nothing\nexcept AttributeError as error:\n"
    assert "has no attribute 'nothing'" in python(code + "    print(error)")
