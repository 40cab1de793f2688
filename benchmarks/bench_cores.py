"""`cotpd predict`'s reading on all cores against one, and its share of the machine's matrix-product rate.

Both sides read the same posts in turn. The rate is measured in the same run, with matrices as wide as the encoder's.
Targets: a ratio of at most 0.53 on two cores; at least 90 % of the rate in float32 and 80 % in bfloat16 on one core.
"""

import os
import time

import torch
from bench import compare, load_split, parser, posts_of, start, student, tokenizer_of

from modeling_cotpd.data.posts import Post
from modeling_cotpd.inference.predictor import EntityPredictor


def products_per_second(dtype: torch.dtype, width: int) -> float:
    """Multiplications and additions per second of (4096, width) x (width, 4 width)."""
    left, right = torch.randn(4096, width).to(dtype), torch.randn(width, 4 * width).to(dtype)
    best = 0.0
    for _ in range(8):
        begin = time.perf_counter()
        for _ in range(8):
            left @ right
        best = max(best, 8 * 2 * left.numel() * right.shape[1] / (time.perf_counter() - begin))
    return best


def main() -> None:
    """Print the ratio of all cores to one, and the share of the rate, for both types."""
    options = parser(__doc__)
    options.add_argument("--posts", type=int, default=512, help="Posts per timing.")
    arguments = options.parse_args()
    start(arguments)
    split, info = load_split(arguments, "test")
    for dtype in (torch.float32, torch.bfloat16):
        model = student(arguments, info).to(dtype)
        tokenizer = tokenizer_of(arguments, model)
        predictor = EntityPredictor(model, tokenizer)
        posts = [Post(str(index), text, "") for index, text in enumerate(posts_of(split, arguments.posts))]

        def read(threads: int) -> None:
            torch.set_num_threads(threads)
            predictor(posts)  # noqa: B023

        cores = os.cpu_count() or 1
        name = str(dtype).removeprefix("torch.")
        compare(f"{name}, {cores} cores against one", lambda: read(cores), lambda: read(1), arguments.alternations)  # noqa: B023
        encoder = model.get_base_model().encoder
        weights = sum(p.numel() for p in encoder.parameters() if p.dim() == 2) - sum(
            module.weight.numel() for module in encoder.modules() if isinstance(module, torch.nn.Embedding)
        )
        tokens = sum(len(row) for row in tokenizer([post.text for post in posts])["input_ids"])
        begin = time.perf_counter()
        read(1)
        rate = 2 * weights * tokens / (time.perf_counter() - begin)
        share = rate / products_per_second(dtype, model.config.get_text_config().hidden_size)
        print(f"{name}, one core: {100 * share:.0f} % of the rate of its matrix products")


if __name__ == "__main__":
    main()
