"""The dependency direction, read from the imports: which part of the package may know which."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "modeling_cotpd"
FILES = sorted(PACKAGE.rglob("*.py"))
TRAVELLERS = sorted(PACKAGE.glob("*_cotpd.py"))
"""The files that are written beside a saved model as its code."""


def name_of(path: Path) -> str:
    """`data.views` for modeling_cotpd/data/views.py."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> set[str]:
    """Every module that a file imports, at its top or inside a function; relative ones begin with a dot."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            found.add(module)
            if module == "modeling_cotpd" or not node.module:  # from modeling_cotpd import x; from . import x
                found |= {f"{module}.{alias.name}" if node.module else f".{alias.name}" for alias in node.names}
    return found


def own_imports(path: Path) -> set[str]:
    """Imports from this package, without its name."""
    return {
        module.removeprefix("modeling_cotpd.") for module in imports_of(path) if module.startswith("modeling_cotpd.")
    }


def within(module: str, areas: set[str]) -> bool:
    return any(module == area or module.startswith(f"{area}.") for area in areas)


# What each part may import of the package; the first line that fits a module counts.
ALLOWED = [
    ({"errors", "version", "losses", "collator", "model_card"}, set()),
    ({"training_args"}, {"errors"}),
    ({"hub"}, {"errors", "model_card"}),
    ({"saving"}, set()),
    ({"trainer"}, {"errors", "losses", "training_args", "hub", "saving"}),
    ({"metrics"}, {"errors", "metrics"}),
    ({"data.schema"}, {"errors", "data.glosses"}),
    ({"data.splits"}, {"errors", "data", "arguments"}),
    ({"data"}, {"errors", "files", "data", "markers_cotpd"}),
    ({"encoders"}, {"errors", "modeling_cotpd"}),
    ({"arguments"}, {"errors", "encoders", "configuration_cotpd", "data.schema"}),
    ({"evaluation"}, {"errors", "data.schema", "metrics"}),
    ({"results"}, {"errors", "evaluation"}),
    ({"lora"}, {"arguments", "modeling_cotpd"}),
    ({"knowledge"}, {"errors", "data", "knowledge", "metrics"}),
    ({"augmentation"}, {"errors", "data", "knowledge", "augmentation"}),
]
ON_TOP = {"experiments", "cli", "demo"}
"""Nothing below imports these."""


def allowed_for(name: str) -> set[str] | None:
    return next((allowed for areas, allowed in ALLOWED if within(name, areas)), None)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_direction(path):
    name = name_of(path)
    if path in TRAVELLERS or not name:
        return
    allowed = allowed_for(name)
    if allowed is not None:
        wrong = {module for module in own_imports(path) if not within(module, allowed)}
        assert not wrong, f"{name} imports {sorted(wrong)}; it may import {sorted(allowed)}"
    if not within(name, ON_TOP):
        assert not {module for module in own_imports(path) if within(module, ON_TOP)}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_only_travelling_files_import_relatively(path):
    relative = {module for module in imports_of(path) if module.startswith(".")}
    assert not relative or path in TRAVELLERS


@pytest.mark.parametrize("path", TRAVELLERS, ids=name_of)
def test_files_that_travel_to_the_hub(path):
    """They lie flat, import each other as `.name` alone, and nothing that a user of transformers lacks."""
    siblings = {f".{other.stem}" for other in TRAVELLERS}
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        assert not (isinstance(node, ast.ImportFrom) and node.level and not node.module), (
            "from . import x is not copied"
        )
        assert not (isinstance(node, ast.ImportFrom) and node.level > 1)
    for module in imports_of(path):
        if module.startswith("."):
            assert module in siblings
        else:
            top = module.split(".")[0]
            assert top in {"torch", "transformers", "huggingface_hub"} | sys.stdlib_module_names, module


def test_travelling_files_look_one_way():
    order = {
        "configuration_cotpd": set(),
        "prompt_cotpd": set(),
        "crf_cotpd": set(),
        "markers_cotpd": set(),
        "encoder_cotpd": {"configuration_cotpd"},
        "modeling_cotpd": {"configuration_cotpd", "crf_cotpd", "encoder_cotpd", "prompt_cotpd"},
        "pipeline_cotpd": {"configuration_cotpd", "markers_cotpd", "modeling_cotpd"},
    }
    assert {path.stem for path in TRAVELLERS} == set(order)
    for path in TRAVELLERS:
        used = {module[1:] for module in imports_of(path) if module.startswith(".")}
        assert used <= order[path.stem], path.stem


def test_what_a_text_import_scan_would_copy_is_what_the_code_imports():
    """transformers finds the files to copy with a regular expression: no line of prose may look like an import."""
    from transformers.dynamic_module_utils import get_relative_imports

    for path in TRAVELLERS:
        used = {module[1:] for module in imports_of(path) if module.startswith(".")}
        assert set(get_relative_imports(path)) == used, path.stem


WITH_TORCH = {"knowledge.captioner", "knowledge.images", "knowledge.image_retrieval", "knowledge.embedding"}


@pytest.mark.parametrize(
    "path", [path for path in FILES if within(name_of(path), {"knowledge", "augmentation"})], ids=name_of
)
def test_knowledge_and_augmentation_need_no_torch(path):
    used = {module.split(".")[0] for module in imports_of(path)}
    assert "torch" not in used or name_of(path) in WITH_TORCH


@pytest.mark.parametrize("path", sorted((PACKAGE / "cli").glob("*.py")), ids=name_of)
def test_commands_start_fast(path):
    """At the top of a command's module nothing heavy is imported."""
    for node in ast.parse(path.read_text("utf-8")).body:
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for module in modules:
            assert module.split(".")[0] not in {"torch", "transformers", "datasets", "evaluate", "peft"}, module


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_modules_stay_small(path):
    assert len(path.read_text("utf-8").splitlines()) <= 500


def test_tests_mirror_the_package():
    tests = {path.relative_to(ROOT / "tests").as_posix() for path in (ROOT / "tests").rglob("test_*.py")}
    core = [
        path for path in PACKAGE.glob("*.py") if path.stem not in ("__init__", "version", "errors", "training_args")
    ]
    core += [PACKAGE / "data" / "views.py", PACKAGE / "data" / "splits.py"]
    for path in core:
        relative = path.relative_to(PACKAGE)
        assert (relative.parent / f"test_{relative.name}").as_posix() in tests, f"no test file for {relative}"


def test_the_package_does_not_hide_its_module_of_the_same_name():
    import modeling_cotpd.modeling_cotpd as module

    assert module.__name__ == "modeling_cotpd.modeling_cotpd"
