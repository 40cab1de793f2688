#!/usr/bin/env bash
# Installs a wheel in a new environment, away from the repository, and uses what it must hold.
#   bash .github/use_wheel.sh dist/modeling_cotpd-*.whl
set -euo pipefail
wheel=$(realpath "$1")
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
python -m venv ${VENV_OPTIONS:-} env
env/bin/pip install --quiet ${PIP_OPTIONS:---extra-index-url https://download.pytorch.org/whl/cpu} "$wheel[quickstart]"
env/bin/cotpd --version
env/bin/cotpd --help > help.txt
grep -q prepare help.txt
env/bin/cotpd prepare sample-mner --out data
env/bin/cotpd check data --json > check.json
env/bin/cotpd train sample_mner --dataset_dir data --max_steps 1 --max_predict_samples 4 --output_dir run
test -s run/model.safetensors
env/bin/python - <<'PYTHON'
import json
from importlib.resources import files

import modeling_cotpd
from modeling_cotpd.knowledge.prompt import load_prompts
from transformers import AutoConfig

assert "site-packages" in modeling_cotpd.__file__, modeling_cotpd.__file__
assert json.load(open("check.json"))["splits"]["train"]["rows"] == 520
assert "noun" in load_prompts()
assert files("modeling_cotpd").joinpath("py.typed").is_file()
assert AutoConfig.for_model("cotpd").prompt_type == "conditional"
PYTHON
echo "The wheel works."
