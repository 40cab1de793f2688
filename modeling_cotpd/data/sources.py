"""The published data sets: their file names, their entity types, and the addresses of all their files."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

BASE_URL = "https://raw.githubusercontent.com"
BASE_URL_VARIABLE = "COTPD_DOWNLOAD_URL"
"""Environment variable that names another server with the same paths, such as a mirror; sha256 is checked too."""


@dataclass(frozen=True)
class RemoteFile:
    """A file at a fixed commit of a public repository.

    Args:
        name (`str`): What it is called in the source folder.
        path (`str`): Repository, commit and path, below `BASE_URL`.
        sha256 (`str`): What its bytes hash to.
    """

    name: str
    path: str
    sha256: str

    @property
    def url(self) -> str:
        """Where the file is."""
        return f"{os.environ.get(BASE_URL_VARIABLE, BASE_URL).rstrip('/')}/{self.path}"

    @property
    def origin(self) -> str:
        """Repository and commit, such as `owner/name@0123abc...`."""
        owner, name, commit = self.path.split("/")[:3]
        return f"{owner}/{name}@{commit}"


@dataclass(frozen=True)
class Source:
    """A data set as it is published.

    Args:
        name (`str`): What the command line calls it.
        task (`str`): `"mner"` or `"mre"`.
        patterns (`tuple[str, ...]`): File names with `{split}` where the split's name goes.
        types (`frozenset[str]`): MNER: the entity types that may occur; empty where the published set is not known.
        downloads (`tuple[RemoteFile, ...]`): Where the posts are; empty where no verified address is known.
        captions (`Mapping[str, tuple[RemoteFile, ...]]`): Captioner to the files of its captions: one for all
            splits, or those of train, validation and test.
        explanations (`RemoteFile`, *optional*): The archive of explanations.
        by_hand (`str`): What to fetch by hand when there are no downloads.
    """

    name: str
    task: str
    patterns: tuple[str, ...]
    types: frozenset[str] = frozenset()
    downloads: tuple[RemoteFile, ...] = ()
    captions: Mapping[str, tuple[RemoteFile, ...]] = field(default_factory=dict)
    explanations: RemoteFile | None = None
    by_hand: str = ""


# The commits are those that added the files, which no later commit changed.
_UMT = "jefferyYu/UMT/f2e9574abb8f557b1a364692e0bef059512c31de/data"
_PGIM = "JinYuanLi0012/PGIM/a13b27590742893347d09b95c9a2c137c580d38b/data"
_MNRE = "thecharm/MNRE/1693df4fc27db86a4cb4b5acf2906c5227085cc4/mnre_txt"
_MRE_ISE = "ChocoWu/MRE-ISE/ca5c72e0c4ddcb0bc4c29f7dd4e92b7d8c1e101f/data"
_CAMIM = "zefanZhang-cn/CAMIM/df328a3948426007cfc93b0ece7f7a14212b0988/CAMIM/data/caption"
_MORE = "MoRe-processed-data (https://modelscope.cn/datasets/caijiong_sijun/MoRE-processed-data/summary)"

RELATION_FILES = ("rel2id.json", "ours_rel2id.json", "mnre_rel2id.json")
"""Names under which the ids of MNRE's relations are published."""

# Copies of Twitter-2015 call the fourth type OTHER or MISC, so both sets accept both names.
_TYPES = frozenset({"LOC", "MISC", "ORG", "OTHER", "PER"})


def _files(folder: str, hashes: Mapping[str, str]) -> tuple[RemoteFile, ...]:
    """Files of one folder; a space in a name, as MNRE has one, is not part of it in the source folder."""
    return tuple(
        RemoteFile(name.replace(" ", ""), f"{folder}/{name.replace(' ', '%20')}", sha256)
        for name, sha256 in hashes.items()
    )


def _twitter(year: int, posts: Mapping[str, str], captions: str, explanations: str) -> Source:
    return Source(
        f"twitter{year}",
        "mner",
        ("{split}.txt",),
        _TYPES,
        _files(f"{_UMT}/twitter{year}", posts),
        {"blip2": _files(f"{_PGIM}/ImageCaption", {f"BLIP2_{year % 100}.txt": captions})},
        _files(f"{_PGIM}/data_PGIM", {f"{year}.zip": explanations})[0],
    )


SOURCES = {
    source.name: source
    for source in (
        _twitter(
            2015,
            {
                "train.txt": "a6246e37aa1c8acd738747fa8257e01775f2a1cc0d4f36f82f9d41d6246ad6fa",
                "valid.txt": "9dcc7f9df7331de3c9cdf67a3450e041c41c6254b5e43925c576e2dfaaabe2ad",
                "test.txt": "edb2665b89bfe58bca06a2c10b9b31cbfa95456135b6a4cbf55c872e48d9b8f9",
            },
            captions="57646c1fd7cf120a5bb6948db56757e35536eed53660f6e0129817cacee492ec",
            explanations="82f93300ecb4af466c632dcde1fe1f5a461be8a3b1e1b1bc655d5d2ea8e4fe4d",
        ),
        _twitter(
            2017,
            {
                "train.txt": "801e149e8635b19d66b4ec1212c329be340ada501b35c5fa55455fb6f53633be",
                "valid.txt": "41b5db90cb32059c14c2c3ccd50845fb77f1e3d3e4f7d0c210a61bc507d8a73e",
                "test.txt": "a7d9e172ae85bd3e35276eb2b01ce223321bdc92a47b234e24305d72e7a05243",
            },
            captions="6ac8231876221740faec3e9d10b78501d678f9f1379e893bbd3c68f885241919",
            explanations="115431c6573939e5c293465de4efd0ec8d795115544844b7b2a2f1450d1d0a00",
        ),
        Source("snap", "mner", ("{split}.txt", "{split}.conll"), _TYPES, by_hand=f"snap.zip of {_MORE}"),
        Source("wikidiverse", "mner", ("{split}.txt", "{split}.conll"), by_hand=f"WikiDiverse's zip file of {_MORE}"),
        Source(
            "mnre",
            "mre",
            ("mnre_{split}.txt", "mnre_{split} .txt", "ours_{split}.txt", "{split}.txt"),
            downloads=(
                *_files(
                    _MNRE,
                    {
                        "mnre_train.txt": "1cc34438a00e2a2db73e4eba297820f926f62abd1fddc693caa13c58b62428b7",
                        "mnre_val .txt": "c76865179b5678167b164c21fd25ed31f9a1416da393ac93ce70f32b00352b75",
                        "mnre_test.txt": "f53c2f9b7739bea7d08aee4a91bfd6ec7432e1d0eeb83debf10f5d3291bc5215",
                    },
                ),
                RemoteFile(
                    "rel2id.json",
                    f"{_MRE_ISE}/ours_rel2id.json",
                    "f09c6c2773fd9078e1b46dd632cba2e0d4b0448d9695d00297e72d4e1f50fd15",
                ),
            ),
            captions={
                "blip2": _files(
                    _CAMIM,
                    {
                        "BLIP_train.txt": "206c180afb9d4cfc830c204343c5d4a42b0ff434cc19250323bf1ae3e7aa366f",
                        "BLIP_val.txt": "d19339d77be30dcd9103a6153ea0cdf17256d2db47c7d77495b311d6a6aaf5bc",
                        "BLIP_test.txt": "7eaa35a2a435b5d39089ae1711e8923bfa13081816dbef54d7d0f363c3bd7813",
                    },
                ),
                "minicpm": _files(
                    _CAMIM,
                    {
                        "minicpm_train.txt": "d8eeb2f6718b47519650352a8b333b081d9d975e82c869f32f5e1e6051ce3d65",
                        "minicpm_val.txt": "e0d873e4ab65b2c9e62a8b64edc48cb145392826d6c216bebfbb8d9e9d124c6b",
                        "minicpm_test.txt": "9e48e36e63f786018eac2b225f59335cafc2a2186f63a68f0b9df5770b83bbe3",
                    },
                ),
            },
        ),
    )
}
"""The published data sets by name."""

KNOWN_COPIES = {
    "850f2f3a4bc3ff344fe5494eef4404a299f515ff60c0d0612c527175e2ee4426": "Twitter-2015 train, UMT",
    "aec3ac7620e4755c77298dd7f787804d1fe322af1ca1307b16e63b9f8a7048e3": "Twitter-2015 validation, UMT",
    "0eee49e692bb0c6ff063f11df1491d72f3af79e9f4381fb0999e224dca533624": "Twitter-2015 test, UMT",
    "6c209ef1ee2a36157205b5b75c48800dbd82970fe1d564df043fb32b2a2a2f42": "Twitter-2017 train, UMT",
    "aec272b562161fd636cb58d2984a1e88d56caf8212687c63b77b14122efd336b": "Twitter-2017 validation, UMT",
    "0589a0b8a5a4ded729bc6885f72c081e9e18645e544a2345884471ee2f1c6146": "Twitter-2017 test, UMT",
    "9152b009f37a632f21d8fd0fe5cd52e6f412a0e063a564a51e937fc754bb2a6d": "MNRE train, version 2",
    "28ced2bd053ab9165bc3cde996837f4f23e9a38f987b91fbea893d8260fe9eed": "MNRE validation, version 2",
    "fd0e504dbc64c80b6c733b7565b8c70f35229b2b3993decd6a48b18e491694a0": "MNRE test, version 2",
}
"""Gold hash to copy and publisher: copies of Twitter-2015 differ in labels, so a result names the one it was measured
on."""
