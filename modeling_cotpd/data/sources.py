"""The published data sets: their file names, their entity types, and where they can be fetched."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class RemoteFile:
    """A file at a fixed commit of a public repository.

    Args:
        name (`str`): What it is called in the source folder.
        url (`str`): Where it is.
        sha256 (`str`): What its bytes hash to.
    """

    name: str
    url: str
    sha256: str


@dataclass(frozen=True)
class Source:
    """A data set as it is published.

    Args:
        name (`str`): What the command line calls it.
        task (`str`): `"mner"` or `"mre"`.
        patterns (`tuple[str, ...]`): File names with `{split}` where the split's name goes.
        types (`frozenset[str]`): MNER: the entity types that may occur; empty where the published set is not known.
        downloads (`tuple[RemoteFile, ...]`): Where the files are; empty where no verified address is known.
        by_hand (`str`): What to fetch by hand when there are no downloads.
    """

    name: str
    task: str
    patterns: tuple[str, ...]
    types: frozenset[str] = frozenset()
    downloads: tuple[RemoteFile, ...] = field(default=())
    by_hand: str = ""


_RAW = "https://raw.githubusercontent.com"
# The commits are those that added the files, which no later commit changed.
_UMT = f"{_RAW}/jefferyYu/UMT/f2e9574abb8f557b1a364692e0bef059512c31de/data"
_MNRE = f"{_RAW}/thecharm/MNRE/1693df4fc27db86a4cb4b5acf2906c5227085cc4/mnre_txt"
_MRE_ISE = f"{_RAW}/ChocoWu/MRE-ISE/ca5c72e0c4ddcb0bc4c29f7dd4e92b7d8c1e101f/data"
_MORE = "MoRe-processed-data (https://modelscope.cn/datasets/caijiong_sijun/MoRE-processed-data/summary)"

RELATION_FILES = ("rel2id.json", "ours_rel2id.json", "mnre_rel2id.json")
"""Names under which the ids of MNRE's relations are published."""

# Copies of Twitter-2015 call the fourth type OTHER or MISC, so both sets accept both names.
_TYPES = frozenset({"LOC", "MISC", "ORG", "OTHER", "PER"})


def _twitter(year: int, hashes: dict[str, str]) -> Source:
    files = (
        RemoteFile(f"{split}.txt", f"{_UMT}/twitter{year}/{split}.txt", sha256) for split, sha256 in hashes.items()
    )
    return Source(f"twitter{year}", "mner", ("{split}.txt",), _TYPES, tuple(files))


SOURCES = {
    source.name: source
    for source in (
        _twitter(
            2015,
            {
                "train": "a6246e37aa1c8acd738747fa8257e01775f2a1cc0d4f36f82f9d41d6246ad6fa",
                "valid": "9dcc7f9df7331de3c9cdf67a3450e041c41c6254b5e43925c576e2dfaaabe2ad",
                "test": "edb2665b89bfe58bca06a2c10b9b31cbfa95456135b6a4cbf55c872e48d9b8f9",
            },
        ),
        _twitter(
            2017,
            {
                "train": "801e149e8635b19d66b4ec1212c329be340ada501b35c5fa55455fb6f53633be",
                "valid": "41b5db90cb32059c14c2c3ccd50845fb77f1e3d3e4f7d0c210a61bc507d8a73e",
                "test": "a7d9e172ae85bd3e35276eb2b01ce223321bdc92a47b234e24305d72e7a05243",
            },
        ),
        Source("snap", "mner", ("{split}.txt", "{split}.conll"), _TYPES, by_hand=f"snap.zip of {_MORE}"),
        Source("wikidiverse", "mner", ("{split}.txt", "{split}.conll"), by_hand=f"WikiDiverse's zip file of {_MORE}"),
        Source(
            "mnre",
            "mre",
            ("mnre_{split}.txt", "mnre_{split} .txt", "ours_{split}.txt", "{split}.txt"),
            downloads=(
                RemoteFile(
                    "mnre_train.txt",
                    f"{_MNRE}/mnre_train.txt",
                    "1cc34438a00e2a2db73e4eba297820f926f62abd1fddc693caa13c58b62428b7",
                ),
                # The space is part of the published name.
                RemoteFile(
                    "mnre_val.txt",
                    f"{_MNRE}/mnre_val%20.txt",
                    "c76865179b5678167b164c21fd25ed31f9a1416da393ac93ce70f32b00352b75",
                ),
                RemoteFile(
                    "mnre_test.txt",
                    f"{_MNRE}/mnre_test.txt",
                    "f53c2f9b7739bea7d08aee4a91bfd6ec7432e1d0eeb83debf10f5d3291bc5215",
                ),
                RemoteFile(
                    "rel2id.json",
                    f"{_MRE_ISE}/ours_rel2id.json",
                    "f09c6c2773fd9078e1b46dd632cba2e0d4b0448d9695d00297e72d4e1f50fd15",
                ),
            ),
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
