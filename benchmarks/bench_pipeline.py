"""The stock token-classification pipeline over the text-only student, against the same over a plain model."""

import torch
from bench import Report, load_split, parser, plain, posts_of, student
from transformers import pipeline


def main() -> None:
    """Measure the pipelines, and the models alone on equal batches."""
    options = parser(__doc__)
    options.add_argument("--posts", type=int, default=96, help="Posts per timing.")
    arguments = options.parse_args()
    report = Report(arguments)
    split, info = load_split(arguments, "test")
    posts = posts_of(split, arguments.posts)
    model, tokenizer = student(arguments, info)
    models = model, plain(arguments, info)
    pipelines = [
        pipeline(
            "token-classification",
            model=model,
            tokenizer=tokenizer,
            aggregation_strategy="first",
            device=arguments.device,
        )
        for model in models
    ]

    def forward(model, batch):
        with torch.inference_mode():
            for _ in range(8):
                model(**batch)

    for size, target in ((1, 1.05), (32, 1.0)):
        batch = tokenizer(posts[:size], padding=True, return_tensors="pt").to(arguments.device)
        ours, reference = ((lambda run=run, size=size: run(posts, batch_size=size)) for run in pipelines)
        report.compare(f"pipeline, batch {size}", ours, reference, target)
        ours, reference = ((lambda model=model, batch=batch: forward(model, batch)) for model in models)
        report.compare(f"model alone, batch {size}, {batch['input_ids'].shape[1]} tokens", ours, reference)
    report.finish()


if __name__ == "__main__":
    main()
