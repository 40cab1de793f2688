"""Readers of CoNLL files, on posts written for these tests."""

import pytest

from modeling_cotpd.data.conll import ConllForm, read_conll
from modeling_cotpd.errors import DataError

POSTS = "IMGID:11\nAda\tB-PER\nlikes\tO\nYork\tB-LOC\n\nIMGID:o_2\n\u00a0\tO\nRain\tO\n"


def write(tmp_path, text, name="train.txt"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def read(tmp_path, text, types=None):
    return list(read_conll(write(tmp_path, text), "train", ConllForm(published=True, types=types)))


def test_published_form(tmp_path):
    first, second = read(tmp_path, POSTS)
    assert (first["id"], first["image"]) == ("11", "11")
    assert first["tokens"] == ["Ada", "likes", "York"]
    assert first["ner_tags"] == ["B-PER", "O", "B-LOC"]
    assert first["place"].endswith("train.txt, line 1")
    assert second["tokens"] == ["\u00a0", "Rain"], "a no-break space is a token, not a separator"


def test_line_ends_and_empty_lines_do_not_matter(tmp_path):
    plain = [(row["id"], row["tokens"], row["ner_tags"]) for row in read(tmp_path, POSTS)]
    for variant in (POSTS.replace("\n", "\r\n"), POSTS.rstrip("\n"), "\n" + POSTS.replace("\n\n", "\n\n\n") + "\n\n"):
        assert [(row["id"], row["tokens"], row["ner_tags"]) for row in read(tmp_path, variant)] == plain


def test_a_header_ends_the_post_before_it(tmp_path):
    rows = read(tmp_path, POSTS.replace("\n\n", "\n"))
    assert [row["id"] for row in rows] == ["11", "o_2"]


def test_repeated_ids_are_told_apart_and_stay_joinable(tmp_path):
    rows = read(tmp_path, "IMGID:1\na\tO\n\nIMGID:1\nb\tO\n\nIMGID:1\nc\tO\n\nIMGID:1#2\nd\tO\n")
    assert [row["id"] for row in rows] == ["1", "1#2", "1#3", "1#2#2"]
    assert [row["image"] for row in rows] == ["1", "1", "1", "1#2"]


def test_retrieved_text_is_kept_apart(tmp_path):
    text = "IMGID:1\nAda\tB-PER\n<EOS>\tX\nAda\tX\nis\tX\n\nIMGID:2\nx\tO\n"
    first, second = read(tmp_path, text)
    assert first["tokens"] == ["Ada"] and first["context"] == "Ada is"
    assert second["context"] == ""
    with pytest.raises(DataError, match=r"line 4: The tag 'O' stands after <EOS>"):
        read(tmp_path, text.replace("Ada\tX", "Ada\tO"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("IMGID:1\nAda B-PER\n", r"line 2: The token 'Ada B-PER' has no tag"),
        ("IMGID:1\nAda\tB-PRE\n", r"line 2: Unknown tag 'B-PRE'.*LOC, PER"),
        ("IMGID:1\nAda\tS-PER\n", r"line 2: Unknown tag 'S-PER'.*--tag-scheme"),
        ("IMGID:1\nAda\tB-\n", r"line 2: Unknown tag 'B-'"),
        ("IMGID:1\n\tO\n", r"line 2: The token is empty"),
        ("IMGID:1\nAda\t\n", r"line 2: Unknown tag ''"),
        ("Ada\tO\n", r"line 1: A post begins without a line IMGID:"),
        ("IMGID:\nAda\tO\n", r"line 1: The header holds no id"),
        (b"IMGID:1\nAd\xe1\tO\n", r"line 2: Byte 3 .* is not UTF-8"),
        ("", r"train\.txt: The file is empty"),
    ],
)
def test_faults_name_file_and_line(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read(tmp_path, text, {"PER", "LOC"})


def own(tmp_path, text):
    return list(read_conll(write(tmp_path, text), "train"))


def test_own_files_part_at_tabs_or_spaces(tmp_path):
    for text in ("Ada\tB-PER\nof York\tO\n", "# id = a 1\nAda NNP B-PER\nruns  VB O\n"):
        (row,) = own(tmp_path, text)
        assert row["ner_tags"] == ["B-PER", "O"]
    assert row["id"] == "a 1" and row["tokens"] == ["Ada", "runs"]
    assert own(tmp_path, "Ada\tB-PER\nof York\tO\n")[0]["tokens"] == ["Ada", "of York"]


def test_own_files_may_be_unlabelled_and_without_ids(tmp_path):
    rows = own(tmp_path, "-DOCSTART- -X- O\n\nAda\nruns\n\n# hash O\n#id:7\nYork B-LOC\n")
    assert [row["id"] for row in rows] == ["train-0", "train-1", "7"]
    assert rows[0]["ner_tags"] is None and rows[0]["image"] is None
    assert rows[1]["tokens"] == ["#"], "a hash sign with a tag is a token"


def test_own_files_with_some_tags_missing(tmp_path):
    with pytest.raises(DataError, match=r"line 1: 2 tokens but 1 tags"):
        own(tmp_path, "Ada\tB-PER\nruns\n")
