"""The exported student in 8 bits in ONNX Runtime, against the eager PyTorch model, post by post.

With `--model_name_or_path` naming a trained model, F1 of both is compared too. Target: at least 2.5 x faster at
batch 1 (a ratio of at most 0.4), F1 within 0.3.
"""

import contextlib
import io
import tempfile
from pathlib import Path

import torch
from bench import compare, load_split, parser, start, student, tokenizer_of
from datasets import Dataset

from modeling_cotpd import CoTPDForTokenClassification
from modeling_cotpd.data.views import ViewSettings, build_features
from modeling_cotpd.inference.onnx_export import export_onnx
from modeling_cotpd.inference.onnx_model import OnnxStudent
from modeling_cotpd.training.evaluation import score
from modeling_cotpd.training.pretrained import is_cotpd_checkpoint


def entity_f1(model, split: Dataset, features: Dataset, names: list[str]) -> float:
    """Entity F1 of a model on a split, post by post."""
    predictions = []
    for row in features:
        with torch.inference_mode():
            best = model(input_ids=torch.tensor([row["input_ids"]])).logits[0].argmax(-1).tolist()
        predictions.append([names[best[place]] if place >= 0 else "O" for place in row["first_pieces"]])
    return score(predictions, split)["f1"]


def main() -> None:
    """Export, and print the ratios of the 32-bit and the 8-bit graph."""
    options = parser(__doc__)
    options.add_argument("--posts", type=int, default=64, help="Posts per timing.")
    arguments = options.parse_args()
    start(arguments)
    split, info = load_split(arguments, "test")
    trained = is_cotpd_checkpoint(arguments.model_name_or_path)
    if trained:
        model = CoTPDForTokenClassification.from_pretrained(arguments.model_name_or_path).eval()
    else:
        model = student(arguments, info)
    tokenizer = tokenizer_of(arguments, model)
    features = build_features(split, tokenizer, ViewSettings(knowledge_columns=()))
    texts = [torch.tensor([row]) for row in features["input_ids"][: arguments.posts]]

    def run(any_model):
        with torch.inference_mode():
            for ids in texts:
                any_model(input_ids=ids, attention_mask=torch.ones_like(ids))

    with tempfile.TemporaryDirectory() as folder:
        for bits in (32, 8):
            with contextlib.redirect_stdout(io.StringIO()):  # the exporter prints its steps
                report = export_onnx(model, tokenizer, Path(folder) / str(bits), int8=bits == 8)
            session = OnnxStudent.from_folder(Path(folder) / str(bits), threads=arguments.threads)
            compare(f"ONNX {bits} bits, batch 1", lambda: run(session), lambda: run(model), arguments.alternations)  # noqa: B023
            print(f"  {report}")
            if trained:
                scores = [entity_f1(any_model, split, features, info.label_names) for any_model in (session, model)]
                print(f"  F1 {100 * scores[0]:.2f}, eager {100 * scores[1]:.2f}")


if __name__ == "__main__":
    main()
