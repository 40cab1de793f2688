"""The stock token-classification pipeline over the text-only student, against the same over a plain model.

Target: at most 1.15 x its time at batch 1 and at batch 32.
"""

import torch
from bench import compare, load_split, parser, plain, posts_of, start, student, tokenizer_of
from transformers import pipeline


def main() -> None:
    """Print the ratios of the pipelines, and of the models alone on equal batches."""
    options = parser(__doc__)
    options.add_argument("--posts", type=int, default=96, help="Posts per timing.")
    arguments = options.parse_args()
    start(arguments)
    split, info = load_split(arguments, "test")
    posts = posts_of(split, arguments.posts)
    ours, reference = student(arguments, info), plain(arguments, info)
    tokenizer = tokenizer_of(arguments, ours)
    pipelines = [
        pipeline("token-classification", model=model, tokenizer=tokenizer, aggregation_strategy="first", device=-1)
        for model in (ours, reference)
    ]
    for size in (1, 32):
        one, other = ((lambda run=run: run(posts, batch_size=size)) for run in pipelines)  # noqa: B023
        compare(f"pipeline, batch {size}", one, other, arguments.alternations)
        batch = tokenizer(posts[:size], padding=True, return_tensors="pt")

        def forward(model, batch=batch):
            with torch.inference_mode():
                for _ in range(8):
                    model(**batch)

        compare(
            f"model alone, batch {size}, {batch['input_ids'].shape[1]} pieces",
            lambda: forward(ours),
            lambda: forward(reference),
            arguments.alternations,
        )


if __name__ == "__main__":
    main()
