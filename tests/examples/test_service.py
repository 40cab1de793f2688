"""The example service: many clients at once get the right answers, and what is too large is refused."""

import asyncio
import importlib.util
from pathlib import Path

import pytest
from support.inference_models import saved

from modeling_cotpd.data.posts import Post
from modeling_cotpd.inference.load import load_predictor

pytest.importorskip("fastapi")
httpx = pytest.importorskip("httpx")

SERVICE = Path(__file__).parents[2] / "examples" / "service.py"


def test_two_hundred_clients_get_the_right_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = saved(tmp_path / "model")
    monkeypatch.setenv("MODEL", str(folder))
    spec = importlib.util.spec_from_file_location("service", SERVICE)
    service = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(service)
    texts = [f"Mira Holt {number} sings at Quarry Lane" for number in range(200)]
    predictor, _ = load_predictor(str(folder))
    expected = [row["entities"] for row in predictor([Post("1", text, "here") for text in texts])]

    async def ask_all() -> list:
        transport = httpx.ASGITransport(app=service.app)
        async with (
            service.lifespan(service.app),
            httpx.AsyncClient(transport=transport, base_url="http://x") as client,
        ):
            answers = await asyncio.gather(*(client.post("/predict", json={"text": text}) for text in texts))
            long = await client.post("/predict", json={"text": "x" * (service.MAX_CHARACTERS + 1)})
            huge = await client.post("/predict", json={"text": "x" * (9 * service.MAX_CHARACTERS)})
            odd = await client.post("/predict", json={"text": "a\u0000 \ufffd"})
        assert (long.status_code, huge.status_code, odd.status_code) == (422, 413, 200)
        return answers

    answers = asyncio.run(ask_all())
    assert [answer.status_code for answer in answers] == [200] * 200
    for answer, entities in zip(answers, expected, strict=True):
        found = answer.json()["entities"]
        assert [(e["start"], e["end"], e["type"]) for e in found] == [
            (e["start"], e["end"], e["type"]) for e in entities
        ]
        assert [e["score"] for e in found] == pytest.approx([e["score"] for e in entities], abs=1e-5)
