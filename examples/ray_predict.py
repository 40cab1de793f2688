"""Entities of the posts of many Parquet files, on many machines: Ray Data with an exported student.

    cotpd export outputs/twitter2017_minilm --out exported --int8
    pip install "ray[data]"
    python examples/ray_predict.py --model exported --input posts/ --output entities/ --workers 2

Every file of `--input` has the columns `id` and `text` and becomes one JSON Lines file of the same name in `--output`,
which holds what `cotpd predict --onnx` writes. A file appears when it is complete, and the same command skips the
files that are there, so a job that was stopped goes on with the next file. On a cluster, start Ray first, give
`--workers` the number of its cores, and use folders that all machines share.
"""

import argparse
import json
from pathlib import Path

import pyarrow.parquet
import ray
import torch

from modeling_cotpd.data.posts import Post
from modeling_cotpd.files import atomic_write
from modeling_cotpd.inference.load import load_predictor
from modeling_cotpd.inference.run import CHUNK_POSTS


class Predict:
    """A worker with the model loaded: reads Parquet files, writes JSON Lines files.

    Args:
        model (`str`): What `cotpd export` wrote.
        output (`str`): The folder of the predictions.
        batch_size (`int`): Posts in memory at once.
    """

    def __init__(self, model: str, output: str, batch_size: int):
        torch.set_num_threads(1)  # a worker has one core, whatever OMP_NUM_THREADS says; its session takes as many
        self.predictor, task = load_predictor(model, onnx=True)
        if task != "mner":
            raise SystemExit(f"{model} finds relations; this example reads entities.")
        self.output, self.batch_size = Path(output), batch_size

    def __call__(self, batch: dict) -> dict:
        return {"path": batch["path"], "posts": [self.file(Path(path)) for path in batch["path"]]}

    def file(self, path: Path) -> int:
        """Predict on one file; return its number of posts."""
        count = 0
        with pyarrow.parquet.ParquetFile(path) as file, atomic_write(target(path, self.output)) as out:
            for rows in file.iter_batches(self.batch_size, columns=["id", "text"]):
                posts = [Post(str(row["id"]), row["text"], f"{path}, row {count}") for row in rows.to_pylist()]
                out.writelines(json.dumps(found, ensure_ascii=False) + "\n" for found in self.predictor(posts))
                count += len(posts)
        return count


def target(path: Path, output: Path) -> Path:
    """Return the file that holds a file's predictions."""
    return output / f"{path.stem}.jsonl"


def main() -> None:
    """Predict on the files whose predictions are not there yet."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", required=True, help="What `cotpd export` wrote.")
    options.add_argument("--input", type=Path, required=True, help="A folder of Parquet files.")
    options.add_argument("--output", type=Path, required=True, help="The folder of the predictions.")
    options.add_argument("--workers", type=int, default=2, help="Copies of the model, one core each.")
    options.add_argument("--batch_size", type=int, default=CHUNK_POSTS, help="Posts in memory at once, per worker.")
    arguments = options.parse_args()
    output = arguments.output.resolve()
    files = sorted(arguments.input.resolve().glob("*.parquet"))
    if not files:
        raise SystemExit(f"{arguments.input}: There is no Parquet file here.")
    waiting = [path for path in files if not target(path, output).exists()]
    print(f"{len(files)} files, {len(waiting)} to do")
    if not waiting:
        return
    paths = ray.data.from_items([{"path": str(path)} for path in waiting], override_num_blocks=len(waiting))
    done = paths.map_batches(
        Predict,
        fn_constructor_args=(str(Path(arguments.model).resolve()), str(output), arguments.batch_size),
        compute=ray.data.ActorPoolStrategy(size=min(arguments.workers, len(waiting))),
        batch_size=1,
        num_cpus=1,
    )
    print(f"{sum(row['posts'] for row in done.take_all()):,} posts: {output}")


if __name__ == "__main__":
    main()
