"""Train and measure on a machine with one GPU and no network, within a time budget, and write one JSON file.

    python benchmarks/gpu_kit/run.py --kit kit --work /tmp/kit --out results.json --encoder mpnet --budget 560

It unpacks what `pack.py` wrote, measures speed and memory while nothing else runs, then runs the sweep `rows.yaml`,
several processes of `python -m experiments` side by side. The JSON file is written anew after every step, so what is
done is kept when the time is up. Flags that this script does not know go to every run, as in
`--per_device_train_batch_size 32` or, to rehearse, `--max_steps 5 --use_cpu true --bf16 false`.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from archive import unpack

ROOT = Path(__file__).resolve().parents[2]
MEASUREMENTS = {
    "training": ["bench_training.py", "--bf16", "--max_length", "256", "--memory_length", "256"],
    "inference": ["bench_inference.py", "--parts", "pipeline", "forms", "--forms", "float32", "bfloat16"],
}
POLL_SECONDS = 1.0


class Session:
    """Everything within one time budget; `further` are flags for every run."""

    def __init__(self, arguments: argparse.Namespace, further: list[str]):
        self.arguments, self.further, self.begin = arguments, further, time.monotonic()
        self.work: Path = arguments.work.resolve()
        self.encoder, self.data = self.work / "encoders" / arguments.encoder, self.work / "data" / arguments.dataset
        self.state: dict[str, Any] = {"options": {k: str(v) for k, v in vars(arguments).items()}, "further": further}
        self.environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(self.work / "site"), os.environ.get("PYTHONPATH", "")]),
            "PYTHONUNBUFFERED": "1",
            "HF_HOME": str(self.work / "cache"),
            "HF_HUB_OFFLINE": "1",
            "HF_DATASETS_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
        }

    def left(self) -> float:
        """Return the seconds that are left."""
        return self.arguments.budget - (time.monotonic() - self.begin)

    def save(self) -> None:
        """Write the JSON file."""
        # modeling_cotpd.files is not importable before `install`
        runs = [run_json(path.parent) for path in sorted((self.work / "out" / "runs").glob("*/run.json"))]
        self.state |= {"seconds": round(time.monotonic() - self.begin, 1), "summary": summary(runs), "runs": runs}
        temporary = self.arguments.out.with_suffix(".tmp")
        temporary.write_text(json.dumps(self.state, ensure_ascii=False) + "\n", "utf-8")
        os.replace(temporary, self.arguments.out)

    def install(self) -> None:
        """Install the kit's wheels into the work folder."""
        site, wheels = self.work / "site", sorted(map(str, (self.work / "wheels").glob("*.whl")))
        if wheels and not site.exists():
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile"]
            subprocess.run([*command, "--target", str(site), *wheels], check=True)

    def measure(self) -> None:
        """Run the benchmarks one after another, within their share of the time."""
        folder = self.work / "measurements"
        folder.mkdir(exist_ok=True)
        end = self.left() - self.arguments.measure_seconds
        self.state["measurements"] = {}
        for name, (script, *options) in MEASUREMENTS.items():
            left = self.left() - end
            if left <= 0:
                return
            path = folder / f"{name}.json"
            command = [sys.executable, str(ROOT / "benchmarks" / script), *options, "--json", str(path)]
            command += ["--model_name_or_path", str(self.encoder), "--dataset_dir", str(self.data)]
            command += self.arguments.measure_options.split()
            with (folder / f"{name}.log").open("w") as log:
                try:
                    code = subprocess.run(
                        command, env=self.environment, stdout=log, stderr=subprocess.STDOUT, timeout=left, check=False
                    ).returncode
                except subprocess.TimeoutExpired:
                    code = None
            rows = json.loads(path.read_text("utf-8")) if path.is_file() else {}
            log_end = {} if code == 0 else {"log": (folder / f"{name}.log").read_text("utf-8")[-2000:]}
            self.state["measurements"][name] = {"exit_code": code, **rows, **log_end}
            self.save()

    def sweep(self) -> Path:
        """Write `rows.yaml` with recipe, encoder and flags, and return the file."""
        import yaml

        sweep = yaml.safe_load(Path(__file__).with_name("rows.yaml").read_text("utf-8"))
        sweep["columns"]["kit"]["recipe"] = str(self.arguments.recipe.resolve())
        preset = {"preset": str(self.arguments.preset.resolve())} if self.arguments.preset else {}
        sweep["encoders"] = {self.arguments.encoder: {**preset, "model_name_or_path": str(self.encoder)}}
        flags: dict[str, list] = {}
        for word in self.further:
            if word.startswith("--"):
                values = flags.setdefault(word[2:], [])
            else:
                values.append(yaml.safe_load(word))
        for row in sweep["rows"]:
            row["settings"] |= {name: value[0] if len(value) == 1 else value for name, value in flags.items()}
            needs = row["settings"].get("distill_from", {})
            needs |= {"seeds": self.arguments.seeds} if needs else {}
        path = self.work / "sweep.yaml"
        path.write_text(yaml.safe_dump(sweep, sort_keys=False), "utf-8")
        return path

    def train(self) -> None:
        """Run the sweep until the time is up; runs that are under way then are stopped."""
        command = [sys.executable, "-m", "experiments", str(self.sweep()), "--data", f"kit={self.data}"]
        command += ["--out", str(self.work / "out"), "--seeds", ",".join(map(str, self.arguments.seeds))]
        command += [word for name in self.arguments.rows for word in ("--only", name)]
        shared = self.environment | {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // self.arguments.jobs))}
        # a shell that starts this script in the background lets it, and what it starts, ignore the signal
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with (self.work / "train.log").open("w") as log:
            workers = [
                subprocess.Popen(command, env=shared, stdout=log, stderr=subprocess.STDOUT)
                for _ in range(self.arguments.jobs)
            ]
            try:
                while self.left() > 0 and any(worker.poll() is None for worker in workers):
                    time.sleep(POLL_SECONDS)
                    self.save()
            finally:
                for worker in workers:
                    worker.send_signal(signal.SIGINT)
                for worker in workers:
                    worker.wait()
                self.save()


def run_json(folder: Path) -> dict[str, Any]:
    """Return what the JSON file holds of a run: its results, or the end of its log while it has none."""
    spec, output = json.loads((folder / "run.json").read_text("utf-8")), folder / "output"
    run = {name: spec.get(name) for name in ("row", "seed", "seconds")}
    if not (output / "results.json").is_file():
        log = folder / "log.txt"
        return {**run, "log": log.read_text("utf-8", errors="replace")[-2000:] if log.is_file() else ""}
    results = json.loads((output / "results.json").read_text("utf-8"))
    run |= {name: results[name] for name in ("splits", "training", "train_rows", "settings")}
    return {**run, "predictions": {path.name.split(".")[1]: tags(path) for path in output.glob("pred*.jsonl")}}


def tags(path: Path) -> dict[str, dict[str, str]]:
    """Return per view and post the predicted tags in one string, for paired tests between runs."""
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    views = [view for view in ("prompt", "knowledge") if view in rows[0]]
    return {view: {row["id"]: " ".join(row[view]) for row in rows} for view in views}


def summary(runs: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return number, mean, lowest and highest F1 of every row, split and view."""
    found: dict[str, list[float]] = {}
    for run in runs:
        for split, views in run.get("splits", {}).items():
            for view, scores in views.items():
                found.setdefault(f"{run['row']}, {split}, {view} view", []).append(100 * scores["f1"])
    return {
        name: {"runs": len(f1), "mean": statistics.fmean(f1), "lowest": min(f1), "highest": max(f1)}
        for name, f1 in found.items()
    }


def main() -> None:
    """Unpack, measure, train."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--kit", type=Path, required=True, help="The folder with the pieces.")
    options.add_argument("--work", type=Path, required=True, help="A folder outside the clone.")
    options.add_argument("--out", type=Path, required=True, help="The JSON file.")
    options.add_argument("--encoder", required=True, help="Its name in the kit.")
    options.add_argument("--dataset", default="twitter2017", help="Its name in the kit.")
    options.add_argument("--recipe", type=Path, default=ROOT / "configuration" / "mner.yaml", help="Of every run.")
    options.add_argument("--preset", type=Path, help="The encoder's, such as configuration/encoders/mpnet_base.yaml.")
    options.add_argument("--rows", nargs="+", default=[], help="Rows of rows.yaml, and those they need; default: all.")
    options.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options.add_argument("--jobs", type=int, default=6, help="Runs side by side.")
    options.add_argument("--budget", type=float, default=560, help="Seconds for everything.")
    options.add_argument("--measure_seconds", type=float, default=120, help="Of them, the most for measuring.")
    options.add_argument("--measure_options", default="--alternations 5", help="Flags for every measurement.")
    arguments, further = options.parse_known_args()
    session = Session(arguments, further)
    session.state["kit"] = unpack(arguments.kit, session.work)
    session.install()
    session.measure()
    session.train()
    for name, values in session.state["summary"].items():
        print(name, *(f"{key} {value:.2f}" for key, value in values.items()), sep=", ")


if __name__ == "__main__":
    main()
