"""A folder as compressed pieces with sha256, and back. Standard library only: it runs before anything is installed."""

import hashlib
import io
import json
import lzma
import os
import tarfile
import tempfile
from pathlib import Path

MANIFEST = "kit.json"
TWO_BYTE_NUMBERS = [{"id": lzma.FILTER_LZMA2, "preset": 1, "lc": 3, "lp": 1, "pb": 1}]
"""Compression that predicts high and low bytes apart."""


def write_pieces(folder: Path, out: Path, piece_bytes: int) -> dict[str, str]:
    """Write a folder as pieces of at most `piece_bytes`; return the sha256 of each by its name."""
    pieces: dict[str, str] = {}
    with tempfile.TemporaryFile(dir=out) as archive:
        with lzma.open(archive, "wb", filters=TWO_BYTE_NUMBERS) as file, tarfile.open(fileobj=file, mode="w") as tar:
            for path in sorted(folder.iterdir()):
                tar.add(path, path.name)
        archive.seek(0)
        while data := archive.read(piece_bytes):
            name = f"piece-{len(pieces):02d}"
            (out / name).write_bytes(data)
            pieces[name] = hashlib.sha256(data).hexdigest()
    return pieces


def unpack(kit: Path, work: Path) -> dict:
    """Check and join the pieces of a kit, and unpack them into `work`, once; return the kit's manifest.

    Raises:
        SystemExit: A piece is missing or damaged.
    """
    manifest = json.loads((kit / MANIFEST).read_text("utf-8"))
    done = work / MANIFEST
    if done.is_file() and json.loads(done.read_text("utf-8")) == manifest:
        return manifest
    joined = io.BytesIO()
    for name, digest in manifest["pieces"].items():
        data = (kit / name).read_bytes() if (kit / name).is_file() else None
        if data is None:
            raise SystemExit(f"{kit / name}: The piece is missing. Copy every piece that {MANIFEST} names.")
        if hashlib.sha256(data).hexdigest() != digest:
            raise SystemExit(f"{kit / name}: The piece is damaged. Copy it again.")
        joined.write(data)
    joined.seek(0)
    with lzma.open(joined) as file, tarfile.open(fileobj=file, mode="r|") as tar:
        tar.extractall(work, filter="data")
    temporary = done.with_suffix(".tmp")
    temporary.write_text(json.dumps(manifest), "utf-8")
    os.replace(temporary, done)
    return manifest
