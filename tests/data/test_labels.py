"""Label names that are found in the data, and renamed types."""

import pytest

from modeling_cotpd.data.labels import found_label_names, rename_types
from modeling_cotpd.errors import DataError, SettingError


def tagged(*tags):
    return [{"ner_tags": list(row) if row else None, "place": f"line {index}"} for index, row in enumerate(tags)]


def test_tags_in_a_fixed_order(caplog):
    rows = {"train": tagged(["I-B", "O"], None), "test": tagged(["B-A"])}
    assert found_label_names(rows, "mner") == ["O", "B-A", "I-A", "B-B", "I-B"]
    assert "outside of the train split only: B-A" in caplog.text


def test_relations_with_none_first():
    rows = {"train": [{"relation": name, "place": ""} for name in ("b", "None", "A", None)]}
    assert found_label_names(rows, "mre") == ["None", "A", "b"]


def test_unknown_schemes_and_unlabelled_data():
    with pytest.raises(DataError, match="line 1: Unknown tag 'E-A'"):
        found_label_names({"train": tagged(["O"], ["E-A"])}, "mner")
    with pytest.raises(DataError, match=r"line 0: No row is labelled.*--labels"):
        found_label_names({"train": tagged(None)}, "mner")


def test_rename_types():
    rows = {"train": tagged(["B-OTHER", "I-OTHER", "O", "B-PER"], None)}
    names = ["O", "B-OTHER", "I-OTHER", "B-PER", "I-PER"]
    assert rename_types(rows, "mner", names, {"OTHER": "MISC"}) == ["O", "B-MISC", "I-MISC", "B-PER", "I-PER"]
    assert rows["train"][0]["ner_tags"] == ["B-MISC", "I-MISC", "O", "B-PER"]
    with pytest.raises(SettingError, match=r"no entity type 'ORG'.*OTHER, PER"):
        rename_types(rows, "mner", names, {"ORG": "X"})
    with pytest.raises(SettingError, match="Only entity types"):
        rename_types({}, "mre", [], {"a": "b"})
