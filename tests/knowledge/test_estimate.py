import pytest

from modeling_cotpd.data.posts import Post
from modeling_cotpd.errors import SettingError
from modeling_cotpd.knowledge.answer import Answer
from modeling_cotpd.knowledge.endpoint import EndpointSettings
from modeling_cotpd.knowledge.estimate import Price, estimate, find_price, message_tokens
from modeling_cotpd.knowledge.explanation import ElicitationPlan, elicitation_jobs
from modeling_cotpd.knowledge.prompt import load_prompts
from modeling_cotpd.knowledge.request import replay_all
from modeling_cotpd.knowledge.store import ResponseStore

SETTINGS = EndpointSettings(model="m", base_url="http://a/v1")
NOWHERE = "no such folder/answers.sqlite"
POSTS = [
    Post(str(number), f"Post {number % 25}", columns={"caption": "a pier"} if number % 2 else {})
    for number in range(30)
]


def jobs(mode="dialogue"):
    return elicitation_jobs(POSTS, ElicitationPlan(SETTINGS, load_prompts(), mode=mode))


@pytest.mark.parametrize("mode", ["dialogue", "independent"])
def test_all_questions_of_a_dialogue_are_counted_and_equal_posts_once(mode):
    found = estimate(jobs(mode), NOWHERE, SETTINGS)
    # Of 30 posts 5 repeat the text of another one, with another caption: 30 different posts, 15 with a caption.
    assert found.requests == {"noun": 30, "sentence": 30, "multimodality": 15}
    doubled = elicitation_jobs(POSTS + POSTS, ElicitationPlan(SETTINGS, load_prompts(), mode=mode))
    assert estimate(doubled, NOWHERE, SETTINGS).requests == found.requests
    assert found.completion_tokens == pytest.approx((30 * 90 + 30 * 300 + 15 * 200) / 4)
    assert found.most_completion_tokens == 75 * 512


def test_what_is_stored_is_not_counted_and_measured_lengths_are_used(tmp_path):
    path = tmp_path / "s.sqlite"
    assert estimate(jobs(), path, SETTINGS).requests.total() == 75
    assert not path.exists()
    with ResponseStore(path) as store:

        def answer(request):
            with store.transaction():
                store.save(request, Answer("answered", "x", prompt_tokens=10, completion_tokens=70))
            return store.get(request.key)

        for _ in replay_all(elicitation_jobs(POSTS[:24], ElicitationPlan(SETTINGS, load_prompts())), answer):
            pass
    found = estimate(jobs(), path, SETTINGS)
    assert (found.requests, found.stored) == ({"noun": 6, "sentence": 6, "multimodality": 3}, 60)
    assert found.measured == {"noun", "sentence"}  # 12 answers about pictures are too few to go by
    assert found.completion_tokens == pytest.approx(12 * 70 + 3 * 50)


def test_the_estimate_in_words():
    found = estimate(jobs(), NOWHERE, SETTINGS)
    lines = "\n".join(found.lines(Price(1.0, 2.0)))
    assert "75 (30 noun, 30 sentence, 15 multimodality); answered already: 0" in lines
    expected = (found.prompt_tokens + 2 * found.completion_tokens) / 1e6
    assert f"cost, estimated: ${expected:,.2f}" in lines and "check your provider" in lines
    assert "unknown price" in "\n".join(found.lines(None))


def test_prices():
    assert find_price("gpt-4o-mini") == find_price("openai/gpt-4o-mini-2024-07-18") == Price(0.15, 0.6)
    assert find_price("gpt-4o-mini-audio") is None and find_price("mine") is None
    assert find_price("gpt-4o-mini", 3, 4) == Price(3, 4)
    assert Price(2, 8).cost(1_000_000, 500_000) == 6
    for prices in ((1, None), (None, 1), (-1, 1), (1, float("nan"))):
        with pytest.raises(SettingError):
            find_price("m", *prices)


def test_tokens_of_messages():
    picture = {"type": "image_url", "image_url": {"url": "sha256:1"}}
    messages = [
        {"role": "user", "content": "x" * 40},
        {"role": "user", "content": [picture, {"type": "text", "text": "x" * 4}]},
    ]
    assert message_tokens(messages) == 10 + 4 + 1000 + 1 + 4
