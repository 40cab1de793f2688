"""Files that take their names when they are complete."""

import pytest

from modeling_cotpd.saving import STAGING, staged


def test_files_move_when_the_block_ends_well(tmp_path):
    folder = tmp_path / "new" / "out"
    with staged(folder) as place:
        (place / "a").write_text("1")
        assert place.parent == folder and not (folder / "a").exists()
    assert [path.name for path in folder.iterdir()] == ["a"]
    with staged(folder) as place:
        (place / "a").write_text("2")
    assert (folder / "a").read_text() == "2"


def test_nothing_moves_when_it_does_not(tmp_path):
    (tmp_path / "a").write_text("old")
    with pytest.raises(OSError, match="full"), staged(tmp_path) as place:
        (place / "a").write_text("ne")
        raise OSError("full")
    assert (tmp_path / "a").read_text() == "old" and [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_a_killed_process_left_is_removed(tmp_path):
    (tmp_path / STAGING).mkdir()
    (tmp_path / STAGING / "half").write_text("x")
    with staged(tmp_path) as place:
        (place / "a").write_text("1")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_others_only_get_the_name(tmp_path):
    with staged(tmp_path / "out", writes=False) as place:
        assert place == tmp_path / "out" / STAGING
    assert not (tmp_path / "out").exists()
