# Every target does all of its own set-up in .venv, from a fresh clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Without a GPU, PyTorch's CPU build: where its index is not reached, pip goes on with its usual ones.
TORCH ?= torch==2.13.0
ifeq ($(shell command -v nvidia-smi),)
TORCH_INDEX ?= --extra-index-url https://download.pytorch.org/whl/cpu
endif
# OUT is where `make demo` writes; it is made anew each time.
OUT ?= outputs/demo
# Test processes
JOBS ?= 2

.PHONY: demo model test test-slow style quality docs docs-serve dist clean

$(BIN)/.torch:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --retries 0 $(TORCH_INDEX) "$(TORCH)"
	touch $@

$(BIN)/.demo: $(BIN)/.torch setup.cfg pyproject.toml
	$(BIN)/pip install --quiet --editable ".[quickstart]"
	touch $@

$(BIN)/.model: $(BIN)/.torch setup.cfg pyproject.toml
	$(BIN)/pip install --quiet --editable ".[quickstart,onnx]"
	touch $@

$(BIN)/.test: $(BIN)/.torch setup.cfg pyproject.toml
	$(BIN)/pip install --quiet --editable ".[test,quality]"
	touch $@

$(BIN)/.docs: $(BIN)/.torch setup.cfg pyproject.toml
	$(BIN)/pip install --quiet --editable ".[docs]"
	touch $@

$(BIN)/.dist:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet "build>=1.2,<2" "twine>=6.1,<8"
	touch $@

demo: $(BIN)/.demo
	$(BIN)/python examples/demo.py --output_dir $(OUT)

# MODEL names one of twitter2015 and twitter2017; both by default. MODEL_FLAGS go to every training.
model: $(BIN)/.model
	$(BIN)/python examples/make_model.py $(MODEL) --source raw --out outputs/model $(MODEL_FLAGS)

test: $(BIN)/.test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS)

test-slow: $(BIN)/.test
	$(BIN)/python -m pytest -m slow --timeout 3600

style: $(BIN)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

quality: $(BIN)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(BIN)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

docs-serve: $(BIN)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

dist: $(BIN)/.dist
	rm -rf build dist
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*

clean:
	rm -rf $(VENV) build dist *.egg-info outputs site
