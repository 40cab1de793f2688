"""Explanations cut into grains, and lines of caption files."""

import pytest

from modeling_cotpd.data.published_texts import cut_explanation, read_captions
from modeling_cotpd.errors import DataError


@pytest.mark.parametrize(
    ("text", "noun", "sentence", "multimodality"),
    [
        ("Named entities:1. Ed (x)2. Mo (y)Reasoning:One. A picture.", "1. Ed (x)2. Mo (y)", "One.", "A picture."),
        ("Named entities: NoneReasoning: Nothing is named.", "None", "Nothing is named.", ""),
        ("Named entities: 1. Varro (x) ReasoningThe hall is old.", "1. Varro (x)", "The hall is old.", ""),
        ("1. Varro (x) Reasoning: Varro sings.", "1. Varro (x)", "Varro sings.", ""),
        ("There are no names. The image is dark.", "", "There are no names.", "The image is dark."),
        ("Named entities: There are none. The image is dark.", "", "There are none.", "The image is dark."),
        ("Named entities: 1. Varro (x)", "1. Varro (x)", "", ""),
        ("Reasoning: Images help.   Imagery is another word.", "", "Imagery is another word.", "Images help."),
        ("", "", "", ""),
    ],
)  # fmt: skip
def test_grains(text, noun, sentence, multimodality):
    assert cut_explanation(text) == {"noun": noun, "sentence": sentence, "multimodality": multimodality}


def test_caption_lines(tmp_path):
    (tmp_path / "a.txt").write_text("17.jpg :a dog :b\n\n{'img_id': 'o_2.jpg', 'text': 'it\\'s'}\n18.jpg :\n")
    assert [(image, text) for image, text, _ in read_captions([tmp_path / "a.txt"])] == [
        ("17", "a dog :b"),
        ("o_2.jpg", "it's"),
        ("18", ""),
    ]
    (tmp_path / "b.txt").write_text("17.jpg a dog\n")
    with pytest.raises(DataError, match=r"b\.txt, line 1: The line holds no caption"):
        list(read_captions([tmp_path / "b.txt"]))
