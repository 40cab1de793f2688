"""The published data sets: file names, entity types, addresses, and the download of files whose sha256 is known."""

import http.client
import json
import logging
import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tqdm.auto import tqdm

from modeling_cotpd.errors import DataError
from modeling_cotpd.files import sha256_of
from modeling_cotpd.text_safety import without_secrets

logger = logging.getLogger(__name__)

BASE_URL = "https://raw.githubusercontent.com"
BASE_URL_VARIABLE = "COTPD_DOWNLOAD_URL"
"""Environment variable that names another server with the same paths, such as a mirror; sha256 is checked too."""


@dataclass(frozen=True)
class RemoteFile:
    """A file at a fixed commit of a public repository: name in the source folder, path below `BASE_URL`, hash."""

    name: str
    path: str
    sha256: str

    @property
    def url(self) -> str:
        return f"{os.environ.get(BASE_URL_VARIABLE, BASE_URL).rstrip('/')}/{self.path}"

    @property
    def origin(self) -> str:
        """Repository and commit, such as `owner/name@0123abc...`."""
        owner, name, commit = self.path.split("/")[:3]
        return f"{owner}/{name}@{commit}"


@dataclass(frozen=True)
class Source:
    """A data set as it is published."""

    name: str  # what the command line calls it
    task: str  # "mner" or "mre"
    patterns: Sequence[str]  # file names with {split} where the split's name goes
    types: Sequence[str] = ()  # the entity types that may occur; empty where that is not known
    downloads: Sequence[RemoteFile] = ()  # where the posts are; empty where no verified address is known
    # captioner to the files of its captions: one for all splits, or those of train, validation and test
    captions: Mapping[str, Sequence[RemoteFile]] = field(default_factory=dict)
    explanations: RemoteFile | None = None  # the archive of explanations
    by_hand: str = ""  # what to fetch by hand when there are no downloads


RELATION_FILES = ("rel2id.json", "ours_rel2id.json", "mnre_rel2id.json")
"""Names under which the ids of MNRE's relations are published."""
_TABLE = json.loads(
    Path(__file__).with_suffix(".json").read_text("utf-8"),
    object_hook=lambda value: RemoteFile(**value) if "sha256" in value else value,
)
SOURCES = {name: Source(name, **entry) for name, entry in _TABLE["sources"].items()}
"""The published data sets by name. A space in a published file's name, as MNRE has one, is left out. The commits are
those that added the files, which no later commit changed. Copies of Twitter-2015 call the fourth type OTHER or MISC,
so both Twitter sets accept both names."""
KNOWN_COPIES: dict[str, str] = _TABLE["copies"]
"""Gold hash to copy and publisher: copies of Twitter-2015 differ in labels, so a result names the one it was measured
on."""


def download(
    url: str, path: str | os.PathLike, sha256: str, attempts: int = 3, timeout: float = 30.0, wait: float = 1.0
) -> Path:
    """Fetch one file.

    The bytes go to `PATH.part` first. A broken connection is resumed if the server supports that, and restarted if it
    does not; a later call resumes from the part file too. Only a file with the right hash gets its final name.

    A connection counts as broken after `timeout` seconds without a byte; before the second attempt pass `wait`
    seconds, and twice as many before each further one.

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
    shown, part = without_secrets(url), path.with_name(path.name + ".part")
    for attempt in range(1, attempts + 1):
        try:
            _fetch(url, part, timeout)
            break
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, urllib.error.HTTPError) and error.code < 500 and error.code not in (408, 429):
                fix = f"Fetch the file by hand to {path}, or try again later."
                raise DataError(f"The server answers {error.code} {error.reason}.", place=shown, fix=fix) from None
            reason = f"{type(error).__name__}: {error}"
            if attempt == attempts:
                size = part.stat().st_size if part.exists() else 0
                raise DataError(
                    f"The connection broke {attempts} times, last with {reason}; {size} bytes stay.",
                    place=shown,
                    fix=f"Run the same command again to go on from {part}.",
                ) from error
            logger.warning("%s: %s; trying again", shown, reason)
            time.sleep(wait * 2 ** (attempt - 1))
    found = sha256_of(part)
    if found != sha256:
        part.unlink()
        raise DataError(
            f"The fetched file has sha256 {found}, not the published {sha256}; it was removed.",
            place=shown,
            fix=f"Try again; if it stays so, the published file has changed: fetch it by hand to {path}.",
        )
    os.replace(part, path)
    return path


def _fetch(url: str, part: Path, timeout: float) -> None:
    """Fetch the rest of a file into `part`; raises `OSError` when fewer bytes come than were announced."""
    done = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})
    try:
        response = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        return  # the part file is as long as the file or longer; its hash tells whether it is the file
    with response:
        resumed = response.status == 206  # a server that does not know ranges sends the whole file with 200
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
