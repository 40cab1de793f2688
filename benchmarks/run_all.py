"""Every paired measurement of docs/benchmarks.md in one run: one JSON file and the table.

    python benchmarks/run_all.py --model_name_or_path outputs/t17 --dataset_dir data/twitter2017 --out measured

It takes about 20 minutes on two cores, on which nothing else may run. `--short` makes every measurement small, to see
that all of them run. The Ray job runs where Ray is installed. Results are kept when a script fails, and the exit code
is 1 then.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from bench import ROOT, table

from modeling_cotpd.files import atomic_write, write_json

CORES = str(os.cpu_count() or 1)
SCRIPTS = {  # options of the full run, and those that `--short` adds
    "bench_inference.py": (
        ["--alternations", "3"],
        ["--alternations", "1", "--posts", "128", "--file_posts", "300"],
    ),
    "bench_training.py": (
        ["--alternations", "3", "--threads", CORES, "--rows", "128", "--max_length", "192", "--memory_length", "192",
         "--cases", "inline", "student"],
        ["--alternations", "1", "--rows", "16", "--batch_size", "4"],
    ),
    "bench_service.py": (["--alternations", "3"], ["--alternations", "1", "--requests", "300"]),
    "bench_startup.py": (["--alternations", "3"], ["--alternations", "1"]),
    "bench_elicit.py": (["--alternations", "2", "--requests", "5000"], ["--alternations", "1", "--requests", "300"]),
    "bench_ray.py": ([], ["--posts", "2000", "--files", "2"]),
}  # fmt: skip
WITHOUT_DATA = ("bench_elicit.py",)
WITHOUT_MODEL = (*WITHOUT_DATA, "bench_startup.py", "bench_training.py")


def main() -> int:
    """Run every script, then write what all of them measured."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model_name_or_path", required=True, help="A trained MNER model.")
    options.add_argument("--dataset_dir", required=True, help="The prepared folder it was trained on.")
    options.add_argument("--out", type=Path, required=True, help="A folder for benchmarks.json and benchmarks.md.")
    options.add_argument("--only", nargs="+", choices=SCRIPTS, default=list(SCRIPTS), help="Which scripts.")
    options.add_argument("--short", action="store_true", help="Make every measurement small.")
    arguments = options.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    results, failed = {}, []
    for script in arguments.only:
        if script == "bench_ray.py" and importlib.util.find_spec("ray") is None:
            print(f"{script}: Ray is not installed.")
            continue
        path = (arguments.out / f"{Path(script).stem}.json").resolve()
        command = [sys.executable, str(ROOT / "benchmarks" / script), "--json", str(path), *SCRIPTS[script][0]]
        if script not in WITHOUT_DATA:
            command += ["--dataset_dir", arguments.dataset_dir]
        if script not in WITHOUT_MODEL:
            command += ["--model_name_or_path", arguments.model_name_or_path]
        command += SCRIPTS[script][1] if arguments.short else []
        begin = time.monotonic()
        code = subprocess.run(command, check=False, env=environment()).returncode
        if path.is_file():
            results[script] = json.loads(path.read_text("utf-8")) | {"seconds": time.monotonic() - begin}
        failed += [script] if code else []
        print(f"{script}: {time.monotonic() - begin:.0f} s, exit code {code}", flush=True)
        write_json(arguments.out / "benchmarks.json", results)
    with atomic_write(arguments.out / "benchmarks.md") as file:
        file.write(document(results))
    print(f"{arguments.out / 'benchmarks.md'}; failed: {', '.join(failed) or 'none'}")
    return int(bool(failed))


def environment() -> dict[str, str]:
    """Return an environment in which scripts import this clone and one another."""
    paths = [str(ROOT), str(ROOT / "benchmarks"), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def document(results: dict[str, dict]) -> str:
    """Return the machine, a table of the ratios, and one of the other figures."""
    rows = [row for result in results.values() for row in result["rows"]]
    machines = dict.fromkeys(result["machine"] for result in results.values())
    pairs = [row for row in rows if "ratio" in row]
    others = [{"what": row["what"], "figures": figures(row)} for row in rows]
    tables = [table(pairs, ["what", "reference", "ratio", "target"]), table(others, ["what", "figures"])]
    return "\n\n".join(["\n".join(machines), *tables]) + "\n"


def figures(row: dict) -> str:
    """Return the numbers of a row with their names."""
    return ", ".join(f"{name} {value:.4g}" for name, value in row.items() if isinstance(value, (int, float)))


if __name__ == "__main__":
    sys.exit(main())
