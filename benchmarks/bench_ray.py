"""`examples/ray_predict.py` with local workers against `cotpd predict` on the same posts: same output, time per post.

Both read the same Parquet files with the model exported to 8 bits, in processes of their own; starting and loading
are included. Posts are those of the training split with a number behind each, so that none is there twice. Files hold
whole chunks, so that both sides read the same batches: in 8 bits a score depends a little on the rest of its batch.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

import pyarrow
import pyarrow.parquet
from bench import COTPD, ROOT, Report, load_split, parser, posts_of, run, save_student, timed

from modeling_cotpd.inference.run import CHUNK_POSTS


def rows(path: Path) -> list[tuple]:
    """Return ids and entities of predictions, in order."""
    found = []
    for line in path.open("rb"):
        row = json.loads(line)
        entities = [(e["start"], e["end"], e["type"], e["text"]) for e in row["entities"]]
        found.append((row["id"], row["text"], entities))
    return found


def main() -> None:
    """Measure both, once."""
    options = parser(__doc__)
    options.add_argument("--posts", type=int, default=200_000, help="Posts of each side.")
    options.add_argument("--files", type=int, default=16, help="Parquet files.")
    options.add_argument("--workers", type=int, default=os.cpu_count(), help="Ray's workers.")
    arguments = options.parse_args()
    report = Report(arguments)
    split, info = load_split(arguments, "train")
    texts = posts_of(split, arguments.posts)
    os.environ["OMP_NUM_THREADS"] = str(os.cpu_count())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_student(arguments, info, name, ["--int8"])
        (folder / "posts").mkdir()
        (folder / "ray").mkdir()
        size = CHUNK_POSTS * -(-len(texts) // (CHUNK_POSTS * arguments.files))
        for number, begin in enumerate(range(0, len(texts), size)):
            block = [(str(i), f"{texts[i]} {i}") for i in range(begin, min(begin + size, len(texts)))]
            table = pyarrow.table({"id": [i for i, _ in block], "text": [text for _, text in block]})
            pyarrow.parquet.write_table(table, folder / "posts" / f"{number:03d}.parquet")
        common = ["--input", f"{name}/posts", "--output"]
        job = [sys.executable, str(ROOT / "examples" / "ray_predict.py"), "--model", f"{name}/onnx"]
        job += [*common, f"{name}/ray", "--workers", str(arguments.workers)]
        alone = [*COTPD, "predict", f"{name}/onnx", "--onnx", *common, f"{name}/alone.jsonl"]
        seconds, _ = timed(lambda: run(alone))
        with_ray, _ = timed(lambda: run(job))
        expected = rows(folder / "alone.jsonl")
        found = [row for path in sorted((folder / "ray").glob("*.jsonl")) for row in rows(path)]
    if len(found) != len(expected):
        raise SystemExit(f"Ray wrote {len(found)} rows, cotpd predict {len(expected)}.")
    differing = sum(a != b for a, b in zip(found, expected, strict=True))
    report.add("Ray job, posts whose entities differ from cotpd predict's", value=differing, target=0)
    report.add(
        f"Ray job, {arguments.workers} workers, {len(texts):,} posts",
        reference="cotpd predict",
        seconds=with_ray,
        reference_seconds=seconds,
        ratio=with_ray / seconds,
        target=1.2,
    )
    report.finish()


if __name__ == "__main__":
    main()
