"""The spaCy component sets the entities that the predictor finds."""

from pathlib import Path

import pytest
from support.inference_models import saved

spacy = pytest.importorskip("spacy")

from modeling_cotpd import CoTPDForRelationExtraction  # noqa: E402
from modeling_cotpd.data.posts import Post  # noqa: E402
from modeling_cotpd.errors import SettingError  # noqa: E402
from modeling_cotpd.inference import spacy_component  # noqa: E402, F401
from modeling_cotpd.inference.load import load_predictor  # noqa: E402

TEXTS = ["Mira Holt sings at Quarry Lane", "", "RT @mira_holt: new single, out on Friday #otters"]


def exact(entities: list[dict]) -> set[tuple]:
    """Scores differ in the last digit with the batch."""
    return {(entity["start"], entity["end"], entity["type"]) for entity in entities}


def test_entities_are_the_predictor_s_alone_and_in_a_stream(tmp_path: Path):
    folder = saved(tmp_path / "model")
    nlp = spacy.blank("en")
    nlp.add_pipe("cotpd", config={"model": str(folder)})
    predictor, _ = load_predictor(str(folder))
    rows = predictor([Post("1", text, "here") for text in TEXTS])
    assert any(row["entities"] for row in rows)
    for doc, row in zip(nlp.pipe(TEXTS), rows, strict=True):
        assert exact(doc.user_data["cotpd"]) == exact(row["entities"]) == exact(nlp(doc.text).user_data["cotpd"])
        covered = {place for ent in doc.ents for place in range(ent.start_char, ent.end_char)}
        for entity in row["entities"]:
            assert set(range(entity["start"], entity["end"])) <= covered
        found = {(ent.start_char, ent.end_char, ent.label_) for ent in doc.ents}
        assert found & exact(row["entities"]) or not row["entities"]


def test_a_missing_model_or_one_for_relations_is_refused(tmp_path: Path):
    with pytest.raises(SettingError, match="needs a model"):
        spacy.blank("en").add_pipe("cotpd")
    folder = saved(tmp_path / "model", CoTPDForRelationExtraction)
    with pytest.raises(SettingError, match="one for mner is needed here"):
        spacy.blank("en").add_pipe("cotpd", config={"model": str(folder)})
