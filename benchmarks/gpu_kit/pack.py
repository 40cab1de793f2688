"""Pack encoders, prepared folders and wheels into pieces that `run.py` unpacks on a machine without a network.

    python benchmarks/gpu_kit/pack.py --encoder minilm=embedded-minilm --dataset data/twitter2017 --out kit

Encoders are in half precision. Every piece and its sha256 stand in `kit.json`.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

import torch
from archive import MANIFEST, write_pieces
from transformers import AutoModel

from modeling_cotpd.encoder_cotpd import resolve_encoder
from modeling_cotpd.files import require_empty, write_json
from modeling_cotpd.training.pretrained import load_tokenizer


def pack(encoders: dict[str, str], datasets: list[str], wheels: str | None, out: Path, piece_bytes: int) -> dict:
    """Write the pieces and the manifest, which it returns, into a new folder.

    Encoders are given by their name in the kit; prepared folders keep their own. `wheels` is a folder of wheels that
    the other machine lacks.
    """
    out = require_empty(out)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as name:
        content = Path(name)
        for encoder, source in encoders.items():
            source, target = resolve_encoder(source), content / "encoders" / encoder
            AutoModel.from_pretrained(source, use_safetensors=True, dtype=torch.float16).save_pretrained(target)
            load_tokenizer(source).save_pretrained(target)
        for folder in datasets:
            shutil.copytree(folder, content / "data" / Path(folder).name)
        if wheels:
            shutil.copytree(wheels, content / "wheels")
        pieces = write_pieces(content, out, piece_bytes)
    manifest = {"encoders": encoders, "datasets": [Path(folder).name for folder in datasets], "pieces": pieces}
    write_json(out / MANIFEST, manifest)
    return manifest


def main() -> None:
    """Pack, and print the pieces."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--encoder", action="append", required=True, metavar="NAME=PATH", help="May be repeated.")
    options.add_argument("--dataset", action="append", required=True, help="A prepared folder; may be repeated.")
    options.add_argument("--wheels", help="A folder of wheels for the other machine.")
    options.add_argument("--out", type=Path, required=True, help="A new folder.")
    options.add_argument("--piece_mib", type=int, default=56, help="The most MiB of a piece.")
    arguments = options.parse_args()
    encoders = dict(pair.split("=", 1) for pair in arguments.encoder)
    manifest = pack(encoders, arguments.dataset, arguments.wheels, arguments.out, arguments.piece_mib << 20)
    for name in manifest["pieces"]:
        print(f"{arguments.out / name}: {(arguments.out / name).stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
