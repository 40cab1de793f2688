"""Fetching files whose sha256 is known: resumed, verified, and put in place in one step."""

import http.client
import logging
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path

from tqdm.auto import tqdm

from modeling_cotpd.data.sources import RemoteFile
from modeling_cotpd.errors import DataError
from modeling_cotpd.files import sha256_of
from modeling_cotpd.text_safety import redact_urls

logger = logging.getLogger(__name__)


def download_files(files: Iterable[RemoteFile], folder: str | os.PathLike) -> list[Path]:
    """Fetch files into a folder and return their paths; see `download`."""
    return [download(file.url, Path(folder) / file.name, file.sha256) for file in files]


def download(
    url: str, path: str | os.PathLike, sha256: str, attempts: int = 3, timeout: float = 30.0, wait: float = 1.0
) -> Path:
    """Fetch one file.

    The bytes go to `PATH.part` first. A broken connection is resumed if the server supports that, and restarted if it
    does not; a later call resumes from the part file too. Only a file with the right hash gets its final name.

    Args:
        url (`str`): Where the file is.
        path (`str` or `os.PathLike`): Where it goes.
        sha256 (`str`): The hash that its bytes must have.
        attempts (`int`, defaults to 3): How often a broken connection is tried.
        timeout (`float`, defaults to 30): Seconds without a byte after which a connection counts as broken.
        wait (`float`, defaults to 1): Seconds before the second attempt; doubled for each further one.

    Returns:
        `Path`: The file.

    Raises:
        DataError: Another file is at `path`, the server refuses, the connection keeps breaking, or the hash is wrong.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        found = sha256_of(path)
        if found == sha256:
            return path
        raise DataError(
            f"The file is there already, with sha256 {found}, not the published {sha256}.",
            place=str(path),
            fix="Keep it and leave out --download, or move it away.",
        )
    part = path.with_name(path.name + ".part")
    for attempt in range(1, attempts + 1):
        try:
            _fetch(url, part, timeout)
            break
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code not in (408, 429):
                raise DataError(
                    f"The server answers {error.code} {error.reason}.",
                    place=redact_urls(url),
                    fix=f"Fetch the file by hand to {path}, or try again later.",
                ) from None
            _retry(url, part, error, attempt, attempts, wait)
        except (OSError, http.client.HTTPException) as error:
            _retry(url, part, error, attempt, attempts, wait)
    found = sha256_of(part)
    if found != sha256:
        part.unlink()
        raise DataError(
            f"The fetched file has sha256 {found}, not the published {sha256}; it was removed.",
            place=redact_urls(url),
            fix=f"Try again; if it stays so, the published file has changed: fetch it by hand to {path}.",
        )
    os.replace(part, path)
    return path


def _retry(url: str, part: Path, error: Exception, attempt: int, attempts: int, wait: float) -> None:
    if attempt == attempts:
        size = part.stat().st_size if part.exists() else 0
        raise DataError(
            f"The connection broke {attempts} times, last with {type(error).__name__}: {error}; {size} bytes stay.",
            place=redact_urls(url),
            fix=f"Run the same command again to go on from {part}.",
        ) from error
    logger.warning("%s: %s: %s; trying again", redact_urls(url), type(error).__name__, error)
    time.sleep(wait * 2 ** (attempt - 1))


def _fetch(url: str, part: Path, timeout: float) -> None:
    """Fetch the rest of a file into `part`; raises `OSError` when fewer bytes come than were announced."""
    done = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})
    try:
        response = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        # The part file is as long as the file or longer; its hash tells whether it is the file.
        return
    with response:
        # A server that does not know ranges sends the whole file with 200.
        resumed = response.status == 206
        length = response.headers.get("Content-Length")
        start = done if resumed else 0
        total = None if length is None else start + int(length)
        with (
            open(part, "ab" if resumed else "wb") as file,
            tqdm(
                total=total, initial=start, unit="B", unit_scale=True, desc=part.stem, leave=False, disable=None
            ) as bar,
        ):
            while chunk := response.read(1 << 16):
                file.write(chunk)
                bar.update(len(chunk))
    if total is not None and part.stat().st_size < total:
        raise ConnectionError(f"{part.stat().st_size} of {total} bytes came")
