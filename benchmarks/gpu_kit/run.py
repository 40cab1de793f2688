"""Train and measure on a machine with one GPU and no network, within a time budget, and write one JSON file.

    python benchmarks/gpu_kit/run.py --kit kit --work /tmp/kit --out results.json --encoder mpnet \
        --recipe configuration/mner.yaml configuration/encoders/mpnet_base.yaml --budget 560

It unpacks what `pack.py` wrote, measures speed and memory while nothing else runs, then trains the rows of `rows.py`
for every seed, the most important ones first, several side by side. The JSON file is written anew after every step,
so what is done is kept when the time is up. Flags that this script does not know go to every run, as in
`--per_device_train_batch_size 32` or, to rehearse, `--max_steps 5 --use_cpu true --bf16 false`.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from archive import unpack
from rows import ROWS

ROOT = Path(__file__).resolve().parents[2]
MEASUREMENTS = {
    "training": ["bench_training.py", "--bf16", "--max_length", "256", "--memory_length", "256"],
    "inference": ["bench_inference.py", "--parts", "pipeline", "forms", "--forms", "float32", "bfloat16"],
}
POLL_SECONDS = 0.2


@dataclass
class Run:
    """One training in a process of its own."""

    row: str
    seed: int
    folder: Path
    status: str = "waiting"
    begin: float = 0.0
    process: subprocess.Popen | None = None
    result: dict[str, Any] = field(default_factory=dict)

    def start(self, command: list[str], environment: dict[str, str]) -> None:
        """Start the process with its output in the folder's log."""
        self.folder.mkdir(parents=True)
        with (self.folder / "log.txt").open("w") as log:
            log.write(f"$ {' '.join(command)}\n")
            log.flush()
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        self.status, self.begin = "running", time.monotonic()

    def has_ended(self) -> bool:
        """Collect the results of a process that has ended."""
        if self.process is None or self.process.poll() is None:
            return False
        self.end("failed" if self.process.returncode else "finished")
        return True

    def stop(self) -> None:
        """End a process that is under way."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.end("stopped")

    def end(self, status: str) -> None:
        """Note how the run ended; what it learned from is kept, its checkpoints are not."""
        self.status = status
        self.result["seconds"] = round(time.monotonic() - self.begin, 1)
        output = self.folder / "output"
        if status == "finished":
            results = json.loads((output / "results.json").read_text("utf-8"))
            self.result |= {name: results[name] for name in ("splits", "training", "train_rows", "settings")}
            self.result["predictions"] = {path.name.split(".")[1]: tags(path) for path in output.glob("pred*.jsonl")}
        else:
            self.result["log"] = (self.folder / "log.txt").read_text("utf-8", errors="replace")[-2000:]
        for checkpoint in output.glob("checkpoint-*"):
            shutil.rmtree(checkpoint)

    def as_json(self) -> dict[str, Any]:
        """Return what the JSON file holds of the run."""
        return {"row": self.row, "seed": self.seed, "status": self.status, **self.result}


def tags(path: Path) -> dict[str, dict[str, str]]:
    """Return per view and post the predicted tags in one string, for paired tests between runs."""
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    views = [view for view in ("prompt", "knowledge") if view in rows[0]]
    return {view: {row["id"]: " ".join(row[view]) for row in rows} for view in views}


class Session:
    """Everything within one time budget.

    Args:
        arguments (`argparse.Namespace`): The options of this script.
        further (`list[str]`): Flags for every run.
    """

    def __init__(self, arguments: argparse.Namespace, further: list[str]):
        self.arguments, self.further = arguments, further
        self.begin = time.monotonic()
        self.work: Path = arguments.work.resolve()
        self.state: dict[str, Any] = {"options": {k: str(v) for k, v in vars(arguments).items()}, "further": further}
        self.runs = [
            Run(row, seed, self.work / "runs" / f"{row}-{seed}") for row in arguments.rows for seed in arguments.seeds
        ]
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
        self.state |= {
            "seconds": round(time.monotonic() - self.begin, 1),
            "summary": summary([run for run in self.runs if run.status == "finished"]),
            "runs": [run.as_json() for run in self.runs],
        }
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
            command = [sys.executable, str(ROOT / "benchmarks" / script), *options, *self.source()]
            command += ["--json", str(path), *self.arguments.measure_options.split()]
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

    def source(self) -> list[str]:
        """Return the flags that name encoder and data."""
        encoder, data = self.work / "encoders" / self.arguments.encoder, self.work / "data" / self.arguments.dataset
        return ["--model_name_or_path", str(encoder), "--dataset_dir", str(data)]

    def command(self, run: Run) -> list[str]:
        """Return the command of a run."""
        row = ROWS[run.row]
        settings = {
            "output_dir": run.folder / "output",
            "seed": run.seed,
            "num_train_epochs": 15,
            "max_length": 256,
            "bf16": "true",
            "disable_tqdm": "true",
            "save_strategy": "best",
            "save_only_model": "true",
            **row.settings,
        }
        if row.teachers:
            settings["distill_from"] = [other.folder / "output" for other in self.teachers(run)]
        command = [sys.executable, str(ROOT / "run_mner.py"), *self.arguments.recipe, *self.source()]
        for name, value in settings.items():
            command += [f"--{name}", *map(str, value if isinstance(value, list) else [value])]
        return command + self.further

    def teachers(self, run: Run) -> list[Run]:
        """Return the runs whose models teach a run."""
        return [other for other in self.runs if other.row == ROWS[run.row].teachers]

    def next_run(self) -> Run | None:
        """Return the first run that waits and whose teachers are finished."""
        for run in self.runs:
            if run.status == "waiting":
                teachers = {other.status for other in self.teachers(run)}
                if teachers <= {"finished"} and (teachers or not ROWS[run.row].teachers):
                    return run
                if not teachers or teachers & {"failed", "stopped"}:
                    run.status = "without teachers"
        return None

    def train(self) -> None:
        """Train until the time is up; a run that would take longer than what is left is not started."""
        shared = self.environment | {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // self.arguments.jobs))}
        running: list[Run] = []
        try:
            while self.left() > 0:
                ended = [run for run in running if run.has_ended()]
                running = [run for run in running if run not in ended]
                for run in ended:
                    print(f"{run.row}, seed {run.seed}: {run.status} after {run.result['seconds']} s", flush=True)
                if ended:
                    self.save()
                known = [run.result["seconds"] for run in self.runs if run.status == "finished"]
                fits = not known or statistics.median(known) < self.left()
                while fits and len(running) < self.arguments.jobs and (run := self.next_run()):
                    run.start(self.command(run), shared)
                    running.append(run)
                if not running:
                    return
                time.sleep(POLL_SECONDS)
        finally:
            for run in running:
                run.stop()
            self.save()


def summary(runs: list[Run]) -> dict[str, dict[str, float]]:
    """Return number, mean, lowest and highest F1 of every row, split and view."""
    found: dict[str, list[float]] = {}
    for run in runs:
        for split, views in run.result["splits"].items():
            for view, scores in views.items():
                found.setdefault(f"{run.row}, {split}, {view} view", []).append(100 * scores["f1"])
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
    recipes = ["configuration/mner.yaml", "configuration/encoders/mpnet_base.yaml"]
    options.add_argument("--recipe", nargs="+", default=recipes, help="Of every run.")
    options.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), help="In this order.")
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
