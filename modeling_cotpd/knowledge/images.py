"""Pictures of any origin: read from one folder only, opened safely, converted to plain RGB.

Pillow is needed only when a picture is opened (`pip install modeling_cotpd[caption]`).
"""

import base64
import io
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from modeling_cotpd.errors import DataError, KnowledgeError, SettingError
from modeling_cotpd.files import sha256_of

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("JPEG", "MPO", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF")
"""What is decoded. EPS and the other rare formats stay out: Pillow hands some of them to outside programs."""
SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".avif")
JPEG = SUFFIXES[:3]
MAX_PIXELS = 89_478_485
"""Pillow's own warning limit: a quarter of a GiB as 24-bit pixels."""
MAX_ASPECT = 100
"""Processors that scale the short side would blow a longer strip up to hundreds of megabytes."""
LONGEST_SIDE = 1024
"""Most pixels of the longer side of a picture that is sent: endpoints scale to about that or bill by size."""


class ImageProblem(KnowledgeError):
    """One picture that cannot be used; the run goes on without it.

    `reason` is one of `outside`, `missing`, `not a file`, `empty file`, `corrupt`, `too large`, `too long`, or what a
    captioner adds; `detail` says what exactly was wrong.
    """

    def __init__(self, reason: str, detail: str):
        self.reason, self.detail = reason, detail
        super().__init__(f"{reason}: {detail}")


def require_pillow() -> None:
    """Raise a `SettingError` with the install line when Pillow is missing."""
    try:
        import PIL  # noqa: F401
    except ImportError:
        fix = "Run: pip install 'modeling_cotpd[caption]'"
        raise SettingError("Reading pictures needs Pillow.", fix=fix) from None


def image_folder(folder: str | os.PathLike) -> Path:
    """The real path of a folder of pictures. Raises a `CoTPDError` when it or Pillow is missing."""
    require_pillow()
    path = Path(folder)
    if not path.is_dir():
        raise DataError("There is no such image folder.", place=str(folder), fix="Name a folder that holds pictures.")
    return path.resolve()


def list_images(folder: Path) -> list[str]:
    """Names of all picture files below a folder (by suffix), relative, with `/`, sorted. Links are not followed."""
    paths = (Path(root) / file for root, _, files in os.walk(folder) for file in files)
    return sorted(path.relative_to(folder).as_posix() for path in paths if path.name.lower().endswith(SUFFIXES))


def resolve_image(folder: Path, name: str) -> Path:
    """The file that a row's image name stands for, if it lies inside the folder, which is free of links.

    The suffix may be missing, as in the published Twitter data, or be spelt otherwise (`.JPG`, `.jpeg`). Absolute
    names, `..`, backslashes, drive letters, NUL bytes and links that lead outside are an `ImageProblem`, before
    anything is opened, and so is a file that is missing or empty.
    """
    parts = name.split("/")
    if not name or "\0" in name or "\\" in name or name.startswith("/") or ".." in parts or name[1:2] == ":":
        raise ImageProblem("outside", f"{name!r} is not a plain name relative to the image folder")
    try:
        path = _with_suffix(folder / name).resolve()
        status = path.stat() if path.is_relative_to(folder) else None
    except FileNotFoundError:
        raise ImageProblem("missing", f"there is no file {name!r}") from None
    except (OSError, RuntimeError, ValueError) as error:  # a name too long, a loop of links, no permission, surrogates
        raise ImageProblem("missing", f"{name!r} cannot be read ({type(error).__name__})") from None
    if status is None:
        raise ImageProblem("outside", f"{name!r} is a link that leads out of the image folder")
    if not stat.S_ISREG(status.st_mode):
        raise ImageProblem("not a file", f"{name!r} is a folder, pipe or device")
    if status.st_size == 0:
        raise ImageProblem("empty file", f"{name!r} has no bytes")
    return path


def _with_suffix(path: Path) -> Path:
    """The path itself when there is such a file, else the first that exists with another spelling of its suffix."""
    if os.path.lexists(path):
        return path
    stem, suffix = os.path.splitext(path.name)
    kinds: tuple[str, ...] = JPEG if suffix.lower() in JPEG else (suffix.lower(),)
    if suffix.lower() not in SUFFIXES:
        stem, kinds = path.name, SUFFIXES
    for kind in kinds:
        for spelt in (kind, kind.upper(), f".{kind[1:].capitalize()}"):
            if (named := path.with_name(stem + spelt)).is_file():
                return named
    return path


def load_image(path: Path | IO[bytes]) -> "Image.Image":
    """Open a picture as upright 8-bit RGB; of an animated one the first frame. Raises `ImageProblem`.

    Transparency is laid on white, 16-bit and floating-point pixels are scaled to 8 bits, CMYK and palettes are
    converted, the EXIF orientation is applied. A picture of more than `MAX_PIXELS` is refused before it is decoded.
    """
    from PIL import Image

    Image.init()  # Pillow knows only a few formats before
    formats = [name for name in FORMATS if name in Image.OPEN]  # AVIF is missing in builds without its library
    bombs = (Image.DecompressionBombError, Image.DecompressionBombWarning)
    try:
        with Image.open(path, formats=formats) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise ImageProblem("too large", f"{width} x {height} pixels, the limit is {MAX_PIXELS:,} in all")
            if max(width, height) > MAX_ASPECT * min(width, height):
                raise ImageProblem("too long", f"{width} x {height} pixels, the limit is {MAX_ASPECT} to 1")
            image.load()
            return _rgb(_upright(image))
    except ImageProblem:
        raise
    except bombs as error:
        raise ImageProblem("too large", str(error)) from None
    except Exception as error:
        # Pillow's decoders raise almost anything on broken bytes: OSError, SyntaxError, struct.error, KeyError, ...
        detail = f"{type(error).__name__}: {error}".replace(str(path), Path(str(path)).name)
        raise ImageProblem("corrupt", detail) from None


def _upright(image: "Image.Image") -> "Image.Image":
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # broken EXIF says nothing against the pixels, which stand as they are stored
        return image


def _rgb(image: "Image.Image") -> "Image.Image":
    from PIL import Image

    if image.mode.startswith("I") or image.mode == "F":
        import numpy as np

        values = np.nan_to_num(np.asarray(image, dtype=np.float64), posinf=0.0, neginf=0.0)
        deep = image.mode.startswith("I;16") or values.max() > 255
        top = 1.0 if image.mode == "F" and values.max() <= 1 else max(65535.0, values.max()) if deep else 255.0
        image = Image.fromarray((values.clip(0, top) * (255.0 / top)).round().astype(np.uint8))
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return image.convert("RGB")


@dataclass(frozen=True)
class Picture:
    """A picture that a request shows, by its file or its content, and the hash that enters key and store.

    It is decoded when the request is sent, so that waiting requests hold no pictures in memory, and sent as an upright
    JPEG of at most 1,024 pixels.
    """

    source: Path | bytes
    sha256: str

    @property
    def reference(self) -> str:
        """What the stored request holds instead of the picture."""
        return f"sha256:{self.sha256}"

    def load(self) -> "Image.Image":
        """Return `load_image` of the picture."""
        return load_image(io.BytesIO(self.source) if isinstance(self.source, bytes) else self.source)

    def data_url(self) -> str:
        """Return the picture as a `data:` URL; it raises what `load` raises."""
        image = self.load()
        image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=90)
        return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def find_picture(folder: Path, name: str) -> Picture:
    """Return the picture `name` within `folder`, hashed here and decoded when it is sent. Raises `ImageProblem`."""
    path = resolve_image(folder, name)
    return Picture(path, sha256_of(path))
