"""The run of all benchmarks: which scripts it runs, and the tables that it writes."""

import json
from pathlib import Path

import run_all


def test_every_script_is_there():
    folder = Path(run_all.__file__).parent
    assert {*run_all.SCRIPTS, *run_all.WITHOUT_DATA} <= {path.name for path in folder.glob("bench_*.py")}


def test_the_document_has_ratios_and_figures():
    rows = [
        {"what": "a", "reference": "b", "seconds": 1.0, "reference_seconds": 2.0, "ratio": 0.5, "target": 0.6},
        {"what": "service, p99, ms", "value": 12.3456},
    ]
    text = run_all.document({"bench_x.py": json.loads(json.dumps({"machine": "M", "rows": rows}))})
    assert "| a | b | 0.5 | 0.6 |" in text and "| service, p99, ms | value 12.35 |" in text
    assert text.startswith("M\n")
    assert "| a | seconds 1, reference_seconds 2, ratio 0.5, target 0.6 |" in text
