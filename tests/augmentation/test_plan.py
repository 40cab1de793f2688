import pytest
from support.fictional import plan

from modeling_cotpd.augmentation.plan import AugmentPlan
from modeling_cotpd.errors import SettingError
from modeling_cotpd.knowledge.prompt import load_prompts


@pytest.mark.parametrize(
    "settings, place",
    [
        ({"kinds": ("style", "picture")}, "kinds"),
        ({"kinds": ("image",)}, "kinds"),
        ({"kinds": ("style", "style")}, "kinds"),
        ({"times": -1}, "times"),
        ({"entity_source": "wikipedia"}, "entity_source"),
        ({"mentions": "some"}, "mentions"),
        ({"knowledge": "keep"}, "knowledge"),
        ({"list_size": 0}, "list_size"),
        ({"settings": None}, "model"),
        ({"settings": None, "kinds": ("entity",)}, "model"),
        ({"settings": None, "kinds": ("entity",), "fact_check": False, "entity_source": "teacher"}, "model"),
    ],
)
def test_settings_that_cannot_be(settings, place):
    with pytest.raises(SettingError) as error:
        plan(**settings)
    assert error.value.place == place


def test_in_domain_names_without_fact_check_need_no_teacher():
    wanted = AugmentPlan(load_prompts(), kinds=("entity",), fact_check=False)
    assert not wanted.needs_teacher
    assert wanted.teacher_name == ""
    assert "teacher" not in wanted.describe()


def test_the_description_names_teacher_and_prompts():
    about = plan(knowledge="elicit").describe()
    assert about["teacher"] == "stub at http://127.0.0.1:9/v1"
    assert any(tag.startswith("style@") for tag in about["prompts"])
    assert about["knowledge"].startswith("stub at")
