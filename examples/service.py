"""An HTTP service for a trained model; requests that come together are answered in one batch.

MODEL=output/twitter2017 uvicorn service:app --app-dir examples
curl -s localhost:8000/predict -H 'content-type: application/json' -d '{"text": "Maya Stone moved to Harlow"}'
"""

import asyncio
import os
from contextlib import asynccontextmanager

import torch
from fastapi import FastAPI, HTTPException, Request, Response
from pydantic import BaseModel, Field

from modeling_cotpd.data.posts import Post
from modeling_cotpd.inference.load import load_predictor
from modeling_cotpd.inference.run import take_threads

MAX_CHARACTERS, MAX_BATCH, MAX_WAITING, TIMEOUT = 10_000, 64, 1000, 10.0


class Query(BaseModel):
    text: str = Field(max_length=MAX_CHARACTERS)


@asynccontextmanager
async def lifespan(app: FastAPI):
    app.state.queue = asyncio.Queue(MAX_WAITING)
    threads = take_threads(torch.device("cpu"))  # as many batches at once, one core each, one model
    predictor, _ = load_predictor(os.environ["MODEL"], onnx=bool(os.environ.get("ONNX")))
    workers = [asyncio.create_task(answer(app.state.queue, predictor)) for _ in range(threads)]
    yield
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)


app = FastAPI(lifespan=lifespan)


async def answer(queue: asyncio.Queue, predictor) -> None:
    while True:
        waiting = [await queue.get()]
        while len(waiting) < MAX_BATCH and not queue.empty():
            waiting.append(queue.get_nowait())
        waiting = [(text, future) for text, future in waiting if not future.done()]  # the others timed out
        try:
            rows = await asyncio.to_thread(predictor, [Post("post", text, "the request") for text, _ in waiting])
        except Exception as error:  # one batch fails, the service goes on
            rows = [error] * len(waiting)
        for (_, future), row in zip(waiting, rows, strict=True):
            if not future.done():
                future.set_exception(row) if isinstance(row, Exception) else future.set_result(row)


@app.middleware("http")
async def limit_body(request: Request, call_next):
    if not request.headers.get("content-length", "").isdigit() and request.method == "POST":
        return Response(status_code=411)
    if int(request.headers.get("content-length", 0)) > 8 * MAX_CHARACTERS:
        return Response(status_code=413)
    return await call_next(request)


@app.post("/predict")
async def predict(query: Query) -> dict:
    future = asyncio.get_running_loop().create_future()
    try:
        app.state.queue.put_nowait((query.text, future))
        row = await asyncio.wait_for(future, TIMEOUT)
    except (TimeoutError, asyncio.QueueFull):
        raise HTTPException(503, "busy") from None
    return {"entities": row["entities"]} if "entities" in row else row
