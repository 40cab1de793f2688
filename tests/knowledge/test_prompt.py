import pytest

from modeling_cotpd.errors import KnowledgeError
from modeling_cotpd.knowledge.prompt import Prompt, load_prompts


def write(folder, name, text):
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.txt").write_text(text, "utf-8")
    return folder


def test_the_papers_wording_is_the_default():
    texts = {name: prompt.text for name, prompt in load_prompts().items()}
    assert texts["noun"] == "Help me explain the meaning of special words for understanding."
    assert texts["sentence"] == "Explain the sentence to me with necessary background."
    assert texts["multimodality"] == "What is the relation between the text and the attached image?"
    assert texts["style"] == "Transform the sentence in Twitter style without changing the meaning."
    assert texts["fact_check"] == "Whether the sentence is possible in fact, answer yes or no."
    assert texts["image"] == "What is a possible image with the text in a tweet?"


def test_a_line_whose_field_is_empty_is_left_out_and_braces_in_posts_stay():
    prompt = load_prompts()["post"]
    assert prompt.fill(text="so {caption} it is", caption="") == "Text: so {caption} it is"
    assert prompt.fill(text="a", caption="b") == "Text: a\nImage: b"


def test_json_in_a_prompt_is_no_field():
    assert Prompt("entities", "1", 'of {types}, as {"text": "..."}').fields == {"types"}


def test_the_tag_changes_with_version_and_wording():
    one = Prompt("noun", "1", "Explain.")
    assert one.tag.startswith("noun@1#")
    assert len({one.tag, Prompt("noun", "2", "Explain.").tag, Prompt("noun", "1", "Explain!").tag}) == 3


def test_a_users_folder_replaces_single_prompts_and_adds_a_system_message(tmp_path):
    folder = write(tmp_path / "p", "noun", "---\nversion: mine-3\n---\nWho is named in {text}?\n")
    write(folder, "system", "---\r\nversion: 1\r\n---\r\nBe brief.\r\n")
    (folder / "README.md").write_text("notes")
    prompts = load_prompts(folder)
    assert prompts["noun"] == Prompt("noun", "mine-3", "Who is named in {text}?")
    assert prompts["system"].text == "Be brief."
    assert prompts["sentence"] == load_prompts()["sentence"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("nouns", "---\nversion: 1\n---\nx", "No prompt has this name"),
        ("noun", "Explain.", "line 1: The prompt does not say its version"),
        ("noun", "---\nversion:\n---\nx", "line 2: The prompt does not say its version"),
        ("noun", "---\nversion: 1\n---\n\n", "no wording"),
        ("noun", "---\nversion: 1\n---\nExplain {txt}.", "unknown field {txt}"),
    ],
)
def test_faulty_prompts_are_named(tmp_path, name, text, message):
    with pytest.raises(KnowledgeError, match=message):
        load_prompts(write(tmp_path / "p", name, text))


def test_bytes_that_are_no_utf8_and_missing_folders_are_named(tmp_path):
    (tmp_path / "noun.txt").write_bytes(b"---\nversion: 1\n---\ncaf\xe9")
    with pytest.raises(KnowledgeError, match=r"noun.txt, byte 22: The prompt is not UTF-8"):
        load_prompts(tmp_path)
    with pytest.raises(KnowledgeError, match="no such folder"):
        load_prompts(tmp_path / "missing")
