from functools import partial

import pytest
from PIL import Image
from support.stub_server import StubServer

from modeling_cotpd.data.posts import Post
from modeling_cotpd.errors import SettingError
from modeling_cotpd.knowledge.answer import Answer
from modeling_cotpd.knowledge.endpoint import EndpointSettings
from modeling_cotpd.knowledge.explanation import ElicitationPlan, elicit_posts, estimate_posts, explain
from modeling_cotpd.knowledge.images import ImageProblem, image_folder
from modeling_cotpd.knowledge.prompt import Prompt, load_prompts
from modeling_cotpd.knowledge.request import Job, replay, unreadable
from modeling_cotpd.knowledge.runner import Asking

POST = Post("1", "Varro Quill is back {caption}", columns={"caption": "a man on a pier", "image": "1.png"})
SETTINGS = EndpointSettings(model="m", base_url="http://a/v1")


def talk(post=POST, answer=lambda request: Answer("answered", f"about {request.purpose}"), **plan):
    plan.setdefault("prompts", load_prompts())
    requests = []

    def answer_to(request):
        requests.append(request)
        return answer(request)

    return requests, replay(Job(post.id, partial(explain, post, ElicitationPlan(SETTINGS, **plan))), answer_to).answers


def contents(request):
    return [(message["role"], message["content"]) for message in request.body["messages"]]


def test_a_dialogue_repeats_the_post_once_and_carries_the_answers_along():
    requests, result = talk()
    prompts = load_prompts()
    first = f"Text: Varro Quill is back {{caption}}\nImage: a man on a pier\n\n{prompts['noun'].text}"
    assert contents(requests[2]) == [
        ("user", first),
        ("assistant", "about noun"),
        ("user", prompts["sentence"].text),
        ("assistant", "about sentence"),
        ("user", prompts["multimodality"].text),
    ]
    assert contents(requests[0]) == contents(requests[2])[:1]
    assert [answer.text for answer in result.values()] == ["about noun", "about sentence", "about multimodality"]


def test_independent_questions_bring_the_post_each_and_know_no_answers():
    requests, _ = talk(mode="independent")
    prompts = load_prompts()
    for request, grain in zip(requests, ("noun", "sentence", "multimodality"), strict=True):
        ((role, content),) = contents(request)
        assert role == "user" and content.startswith("Text: Varro Quill") and content.endswith(prompts[grain].text)


def keys(**plan):
    return {request.purpose: request.key for request in talk(**plan)[0]}


def test_changing_one_prompt_asks_only_that_grain_again_in_independent_mode():
    changed = {**load_prompts(), "noun": Prompt("noun", "2", "Who is who?")}
    before, after = keys(mode="independent"), keys(mode="independent", prompts=changed)
    assert [grain for grain in before if before[grain] != after[grain]] == ["noun"]


def test_in_a_dialogue_the_last_prompt_concerns_its_grain_and_an_early_one_what_follows():
    before = keys()
    for name, concerned in (("multimodality", {"multimodality"}), ("sentence", {"sentence", "multimodality"})):
        after = keys(prompts={**load_prompts(), name: Prompt(name, "2", "Tell me more.")})
        assert {grain for grain in before if before[grain] != after[grain]} == concerned


def test_a_new_version_of_the_same_words_is_another_key():
    noun = load_prompts()["noun"]
    after = keys(prompts={**load_prompts(), "noun": Prompt("noun", "2", noun.text)})
    assert after["noun"] != keys()["noun"]


def test_without_an_image_its_relation_is_not_asked():
    requests, result = talk(Post("1", "Hello"))
    assert [request.purpose for request in requests] == ["noun", "sentence"]
    assert result["multimodality"].status == "skipped"
    assert "Image" not in contents(requests[0])[0][1]


@pytest.mark.parametrize("status", ["failed", "waiting", "missing"])
def test_a_dialogue_stops_where_no_answer_is(status):
    requests, result = talk(answer=lambda request: Answer(status, reason="why"))
    assert len(requests) == 1
    assert {answer.status for answer in result.values()} == {status}
    assert result["noun"].reason == "why"
    assert result["multimodality"].reason == f"the dialogue stops at noun, which is {status}"
    assert len(talk(answer=lambda request: Answer(status), mode="independent")[0]) == 3


@pytest.mark.parametrize("status", ["empty", "refused", "cut"])
def test_a_dialogue_goes_on_after_what_the_teacher_did_say(status):
    requests, _ = talk(answer=lambda request: Answer(status, "well"))
    assert contents(requests[2])[1] == ("assistant", "well")


def test_a_prompt_may_show_the_post_itself_and_a_system_prompt_comes_first():
    prompts = {
        **load_prompts(),
        "noun": Prompt("noun", "2", "Who is named in “{text}”?"),
        "system": Prompt("system", "1", "Be brief."),
    }
    requests, _ = talk(prompts=prompts, grains=("noun",))
    assert contents(requests[0]) == [
        ("system", "Be brief."),
        ("user", "Who is named in “Varro Quill is back {caption}”?"),
    ]
    assert "system@1#" in requests[0].prompt


def test_a_vision_model_sees_the_picture_instead_of_the_caption(tmp_path):
    Image.new("RGB", (3000, 40)).save(tmp_path / "1.png")
    requests, _ = talk(image_folder=image_folder(tmp_path))
    picture, text = requests[2].body["messages"][0]["content"]
    assert picture["image_url"]["url"].startswith("sha256:")
    assert "a man on a pier" not in text["text"]
    assert requests[2].body_to_send()["messages"][0]["content"][0]["image_url"]["url"].startswith("data:image/jpeg;")


@pytest.mark.parametrize(("name", "content"), [("../1.png", None), ("2.png", None), ("1.png", b"")])
def test_a_picture_that_cannot_be_used_fails_the_post_with_its_reason(tmp_path, name, content):
    folder = tmp_path / "images"
    folder.mkdir()
    (tmp_path / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n123")
    if content is not None:
        (folder / name).write_bytes(content)
    requests, result = talk(Post("1", "Hello", columns={"image": name}), image_folder=image_folder(folder))
    assert not requests
    assert {answer.status for answer in result.values()} == {"failed"}
    assert result["noun"].reason.startswith("the picture cannot be read")


def test_faulty_plans_are_refused():
    for wrong in ({"mode": "chat"}, {"grains": ("nouns",)}, {"grains": ()}, {"grains": ("noun", "noun")}):
        with pytest.raises(SettingError):
            ElicitationPlan(SETTINGS, load_prompts(), **wrong)


def test_the_plan_describes_its_origin():
    text = ElicitationPlan(SETTINGS, load_prompts()).describe()
    assert text.startswith("m at http://a/v1, dialogue mode, caption shown, prompts noun@1#")


def test_a_picture_that_cannot_be_decoded_fails_the_post_when_it_is_sent(tmp_path):
    (tmp_path / "1.png").write_bytes(b"no picture")

    def answer(request):
        with pytest.raises(ImageProblem) as error:
            request.body_to_send()
        return unreadable(error.value)

    requests, result = talk(image_folder=image_folder(tmp_path), answer=answer)
    assert len(requests) == 1 and {answer.status for answer in result.values()} == {"failed"}
    assert "corrupt" in result["noun"].reason


def test_a_post_without_text_is_skipped():
    requests, result = talk(Post("1", "\u00a0", columns={"caption": "a pier"}))
    assert not requests and {answer.status for answer in result.values()} == {"skipped"}


def test_a_refusal_by_the_endpoint_ends_the_dialogue():
    requests, result = talk(answer=lambda request: Answer("refused", reason="status 400: filtered"))
    assert len(requests) == 1 and {answer.status for answer in result.values()} == {"refused"}


LISTED = '[{"mention": "Varro Quill", "gloss": "goalkeeper"}]'


@pytest.mark.parametrize(
    ("text", "status", "noun", "glosses"),
    [
        (LISTED, "answered", "1. Varro Quill (goalkeeper)", [{"mention": "Varro Quill", "gloss": "goalkeeper"}]),
        ("[]", "answered", "", []),
        ("There is Varro Quill.", "unparsable", "", []),
    ],
)
def test_nouns_as_a_list_become_glosses(text, status, noun, glosses):
    plan = ElicitationPlan(SETTINGS, load_prompts(), nouns="list")
    requests = []

    def answer_to(request):
        requests.append(request)
        return Answer("answered", text if request.purpose == "noun" else "well")

    found = replay(Job("1", partial(explain, POST, plan)), answer_to)
    assert (found.answers["noun"].status, found.columns()["cot_noun"], found.glosses) == (status, noun, glosses)
    assert "JSON list" in contents(requests[0])[0][1] and "noun_list@1#" in requests[0].prompt
    assert contents(requests[1])[1] == ("assistant", text)  # the dialogue goes on with what the model wrote
    assert list(found.problems()) == (["noun"] if status == "unparsable" else [])


def test_posts_are_explained_from_python_resumably(tmp_path):
    posts = [Post(str(number), f"Post {number}", columns={"caption": "a pier"}) for number in range(4)]
    with StubServer() as server:
        plan = ElicitationPlan(EndpointSettings("m", server.base_url), load_prompts())
        store = tmp_path / "answers.sqlite"
        assert estimate_posts(posts, plan, store).requests.total() == 12 and not server.asked
        first = next(elicit_posts(posts, plan, store))
        assert first.post.id == "0" and all(first.columns().values())
        asking = Asking(concurrency=2)
        found = list(elicit_posts(posts, plan, store, asking))
        assert [each.post.id for each in found] == ["0", "1", "2", "3"] and found[0] == first
        assert set(server.asked.values()) == {1} and server.asked.total() == 12
        assert asking.progress.asked["answered"] + asking.progress.stored == 12
        assert estimate_posts(posts, plan, store).requests.total() == 0
        assert list(elicit_posts(posts, plan, store, Asking(ask=False))) == found
