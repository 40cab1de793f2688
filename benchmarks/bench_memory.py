"""Peak memory of a training step at full length: both views against a plain step on the knowledge sequences.

Every row is as long as `--max_length` in the knowledge view; texts are as long as the data's. Each side runs in a
process of its own; the peak is that of the process beyond what it held before the first step (CPU), or of the
allocator (GPU). Target: at most 1.3 x.
"""

import argparse
import resource
import subprocess
import sys

import torch
from bench import load_split, parser, plain, start, student, tokenizer_of

from modeling_cotpd.data.views import ViewSettings, build_features
from modeling_cotpd.training.collator import CoTPDCollator
from modeling_cotpd.training.losses import distillation_kl


def peak_megabytes() -> float:
    """The most memory so far, in MB."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def full_batch(arguments: argparse.Namespace, features: list[dict], pad: int) -> dict[str, torch.Tensor]:
    """Rows whose knowledge views are repeated to the full length."""
    rows = []
    for row in features:
        text, view = row["input_ids"], row["knowledge_input_ids"]
        tail = view[len(text) :] or text
        filled = (text + tail * arguments.max_length)[: arguments.max_length]
        rows.append({**row, "knowledge_input_ids": filled})
    return CoTPDCollator(pad)(rows)


def measure(arguments: argparse.Namespace) -> None:
    """Two steps of one side, and its peak."""
    torch.set_num_threads(arguments.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    split, info = load_split(arguments, "train")
    ours = student(arguments, info)
    tokenizer = tokenizer_of(arguments, ours)
    views = ViewSettings(max_length=arguments.max_length, max_text_length=ours.get_base_model().max_text_length)
    features = list(build_features(split.select(range(arguments.batch_size)), tokenizer, views))
    batch = {name: rows.to(device) for name, rows in full_batch(arguments, features, tokenizer.pad_token_id).items()}
    model = (ours if arguments.side == "ours" else plain(arguments, info)).to(device).train()
    del ours
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    before = peak_megabytes()
    for _ in range(2):
        if arguments.side == "ours":
            compared = batch["distillation_mask"]
            outputs = model(**{name: value for name, value in batch.items() if name != "distillation_mask"})
            kl = distillation_kl(outputs.logits, outputs.knowledge_logits, compared, 1.0) / compared.sum()
            loss = outputs.loss + kl
        else:
            labels = torch.full_like(batch["knowledge_input_ids"], -100)
            labels[:, : batch["labels"].shape[1]] = batch["labels"]
            loss = model(batch["knowledge_input_ids"], batch["knowledge_attention_mask"], labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    print(before, peak_megabytes())


def main() -> None:
    """Measure both sides in processes of their own."""
    options = parser(__doc__)
    options.add_argument("--batch_size", type=int, default=32, help="Of both sides.")
    options.add_argument("--max_length", type=int, default=512, help="Pieces of every knowledge view.")
    options.add_argument("--side", choices=("both", "ours", "reference"), default="both", help="Which one to measure.")
    arguments = options.parse_args()
    if arguments.side != "both":
        measure(arguments)
        return
    start(arguments)
    peaks = {}
    for side in ("ours", "reference"):
        command = [sys.executable, __file__, *sys.argv[1:], "--side", side]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        before, peak = map(float, output.split()[-2:])
        peaks[side] = peak
        print(f"{side}: peak {peak:.0f} MB, of which {before:.0f} MB before the first step")
    print(f"peak training memory: {peaks['ours'] / peaks['reference']:.2f} x")


if __name__ == "__main__":
    main()
