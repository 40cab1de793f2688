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


HUB = {path.stem for path in TRAVELLERS}
BASE = {"errors", "version", "files", "text_safety"}
# What each part of the package may reach, through whatever it imports. The first line that fits a module counts.
ALLOWED = [
    ({"errors", "version", "text_safety"}, set()),
    ({"files"}, {"errors", "text_safety"}),
    (HUB, HUB),
    ({"metrics"}, {"errors", "metrics", "data.bio"}),
    ({"data"}, {*BASE, "data", "markers_cotpd"}),
    ({"knowledge"}, {*BASE, "data", "knowledge", "metrics", "markers_cotpd"}),
    ({"augmentation"}, {*BASE, "data", "knowledge", "metrics", "markers_cotpd", "augmentation"}),
    ({"training.collator", "training.losses"}, set()),
    ({"training.training_args"}, {"errors"}),
    ({"training.arguments"}, {*BASE, "data", "markers_cotpd", "configuration_cotpd", "training.training_args"}),
    ({"training"}, {*BASE, *HUB, "data", "metrics", "training"}),
    ({"inference"}, {*BASE, *HUB, "data", "metrics", "training", "knowledge", "inference"}),
    # on top of everything: nothing below imports these
    ({"demo"}, {*BASE, *HUB, "data", "metrics", "training", "knowledge", "inference", "demo"}),
    ({"cli", "__main__"}, {""}),
]


def allowed_for(name: str) -> set[str]:
    return next(allowed for areas, allowed in ALLOWED if within(name, areas))


MODULES = {name_of(path): path for path in FILES if name_of(path)}


def direct(name: str) -> set[str]:
    """The modules of the package that a module imports, as modules: `data.views` also for names from it."""
    return {module for module in own_imports(MODULES[name]) if module in MODULES} | {
        f"{module[1:]}" for module in imports_of(MODULES[name]) if module[1:] in MODULES and module.startswith(".")
    }


def reached(name: str) -> set[str]:
    """What a module imports, and what that imports, and so on."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        new = direct(waiting.pop()) - found
        found |= new
        waiting += new
    return found


@pytest.mark.parametrize("name", sorted(MODULES))
def test_direction(name):
    allowed = allowed_for(name)
    wrong = {module for module in reached(name) if "" not in allowed and not within(module, allowed)}
    assert not wrong, f"{name} reaches {sorted(wrong)}; it may reach {sorted(allowed)}"


def test_every_area_has_a_line():
    for name in MODULES:
        assert any(within(name, areas) for areas, _ in ALLOWED), name


def test_what_lies_flat():
    flat = {path.stem for path in PACKAGE.glob("*.py")}
    assert flat == HUB | BASE | {"__init__", "__main__"}


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
        "outputs_cotpd": set(),
        "prompt_cotpd": set(),
        "crf_cotpd": set(),
        "markers_cotpd": set(),
        "encoder_cotpd": set(),
        "pipeline_cotpd": {"markers_cotpd"},
        "pretrained_cotpd": {"configuration_cotpd", "crf_cotpd", "encoder_cotpd", "prompt_cotpd"},
        "modeling_cotpd": {
            "configuration_cotpd", "crf_cotpd", "encoder_cotpd", "outputs_cotpd", "pipeline_cotpd", "pretrained_cotpd",
            "prompt_cotpd",
        },
    }  # fmt: skip
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


WITH_TORCH = {"knowledge.captioner"}


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


WHOLE = {
    "test_documents.py", "test_examples.py", "test_layout.py", "test_registration.py", "test_safety.py",
    "test_workflows.py", "metrics/test_evaluate_load.py", "experiments/test_end_to_end.py", "faults/test_faults.py",
    "fuzz/test_pipelines.py", "fuzz/test_readers.py",
}  # fmt: skip
"""Tests of more than a module."""
WITHOUT_TESTS = {
    "errors", "version", "__main__", "cli.options", "inference.load",
    "knowledge.elicit", "knowledge.summarize", "metrics.counts",
}  # fmt: skip
"""Modules that the tests of their callers test."""
TESTS = {path.relative_to(ROOT / "tests").as_posix() for path in (ROOT / "tests").rglob("test_*.py")} - WHOLE


@pytest.mark.parametrize("path", sorted(TESTS))
def test_a_test_file_has_the_name_of_what_it_tests(path):
    """tests/data/test_views.py tests modeling_cotpd/data/views.py; a second file is named test_views_SOMETHING.py."""
    folder, name = Path(path).parent, Path(path).stem.removeprefix("test_")
    tested = PACKAGE / folder if (PACKAGE / folder).is_dir() else ROOT / folder
    names = {each.stem.strip("_") for each in tested.iterdir()}
    assert any(f"{name}_".startswith(f"{each}_") for each in names if each)


@pytest.mark.parametrize("name", sorted(set(MODULES) - WITHOUT_TESTS))
def test_a_module_has_tests(name):
    path = MODULES[name].relative_to(PACKAGE)  # a metric has a folder of its own
    if path.name != "__init__.py":
        wanted = [folder / f"test_{path.name}" for folder in (path.parent, path.parent.parent)]
        assert TESTS & {each.as_posix() for each in wanted}


def test_the_package_does_not_hide_its_module_of_the_same_name():
    import modeling_cotpd.modeling_cotpd as module

    assert module.__name__ == "modeling_cotpd.modeling_cotpd"


MODELS = {"torch", "transformers", "peft", "accelerate"}


@pytest.mark.parametrize("path", sorted((ROOT / "experiments").glob("*.py")), ids=lambda path: path.stem)
def test_experiments_know_models_as_processes_and_files(path):
    """They import pure functions of the package alone, and nothing of the package imports them."""
    assert not {module.split(".")[0] for module in imports_of(path)} & MODELS
    allowed = {"errors", "files", "metrics", "data.prepared", "cli", "inference.colours"}
    if path.stem == "llm_baseline":  # asks a model through the package's own client
        allowed |= {"data.bio", "data.schema", "knowledge"}
    assert not {module for module in own_imports(path) if not within(module, allowed)}


def test_the_package_does_not_know_the_experiments():
    for path in FILES:
        assert not {module for module in imports_of(path) if module.split(".")[0] == "experiments"}, path
