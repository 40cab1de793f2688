"""Export of the text-only student to ONNX, and the exported model where a PyTorch model is expected."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from transformers import AutoModelForTokenClassification, PreTrainedModel, PreTrainedTokenizerBase

from modeling_cotpd.configuration_cotpd import CoTPDConfig
from modeling_cotpd.errors import SettingError, one_line
from modeling_cotpd.files import require_empty, whole_folder
from modeling_cotpd.modeling_cotpd import CoTPDForRelationExtraction, CoTPDPreTrainedModel
from modeling_cotpd.outputs_cotpd import CoTPDOutput
from modeling_cotpd.training.pretrained import load_config

if TYPE_CHECKING:
    import onnxruntime

ONNX_FILE = "model.onnx"
TOLERANCE = 1.0e-4
LENGTHS = (1, 2, 3, 17, 64, 128)


class OnnxStudentConfig(CoTPDConfig):
    """`CoTPDConfig` of an exported model, by which the auto classes tell it from the PyTorch one."""

    model_type = "cotpd_onnx"


class OnnxStudent(PreTrainedModel):
    """Runs what `cotpd export` wrote; pipelines and `cotpd predict` take it in place of the PyTorch model.

    Args:
        config (`OnnxStudentConfig`): The model's configuration.
        session (`onnxruntime.InferenceSession`): The graph.

    Example:

    ```python
    >>> from transformers import pipeline
    >>> from modeling_cotpd.training.pretrained import load_tokenizer
    >>> from modeling_cotpd.inference.onnx_model import OnnxStudent
    >>> model, tokenizer = OnnxStudent.from_folder("exported"), load_tokenizer("exported")  # doctest: +SKIP
    >>> finder = pipeline("token-classification", model=model, tokenizer=tokenizer, device=-1)  # doctest: +SKIP
    >>> finder("Maya moved to Harlow", aggregation_strategy="simple")  # doctest: +SKIP
    ```
    """

    config_class = OnnxStudentConfig

    def __init__(self, config: OnnxStudentConfig, session: "onnxruntime.InferenceSession"):
        super().__init__(config)
        self.session = session
        self.input_names = [spec.name for spec in session.get_inputs()]

    @classmethod
    def from_folder(cls, folder: str | os.PathLike, threads: int | None = None) -> "OnnxStudent":
        """Open an exported model.

        Args:
            folder (`str` or `os.PathLike`): What `cotpd export` wrote.
            threads (`int`, *optional*): Threads of ONNX Runtime; as many as PyTorch uses by default.

        Raises:
            SettingError: onnxruntime is not installed, or the folder holds no whole exported model.
        """
        try:
            import onnxruntime
        except ImportError as error:
            raise SettingError("onnxruntime is not installed.", fix="pip install 'modeling_cotpd[onnx]'") from error
        path = Path(folder) / ONNX_FILE
        if not path.is_file():
            raise SettingError(f"There is no {ONNX_FILE} here.", place=str(folder), fix="Make one with: cotpd export")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or torch.get_num_threads()
        settings = load_config(str(folder)).to_dict() | {"model_type": OnnxStudentConfig.model_type}
        config = OnnxStudentConfig.from_dict(settings)
        fix = "Copy the folder again, or make a new one with: cotpd export"
        # its fused residual and layer normalization takes four times as long as the two operations apart
        slow = ["SkipLayerNormFusion"]
        try:
            session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"], disabled_optimizers=slow
            )
        except Exception as error:  # its errors have no class of their own in common
            message = f"The graph cannot be read ({one_line(error, 150)})."
            raise SettingError(message, place=str(path), fix=fix) from error
        labels = session.get_outputs()[0].shape[-1]
        if isinstance(labels, int) and labels != config.num_labels:
            message = f"The graph has {labels} labels, config.json {config.num_labels}."
            raise SettingError(message, place=str(folder), fix=fix)
        return cls(config, session)

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    @property
    def dtype(self) -> torch.dtype:
        return torch.float32

    def forward(
        self,
        input_ids: torch.LongTensor,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.LongTensor | None = None,
        marker_positions: torch.LongTensor | None = None,
    ) -> CoTPDOutput:
        """As the exported model's `forward`, for the text alone.

        Raises:
            ValueError: `marker_positions` is missing for relation extraction.
        """
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        given = {"input_ids": input_ids, "attention_mask": mask, "marker_positions": marker_positions}
        feed: dict[str, np.ndarray] = {}
        for name in self.input_names:
            tensor = given[name]
            if tensor is None:
                raise ValueError(f"{name} is missing.")
            feed[name] = tensor.cpu().numpy()
        return CoTPDOutput(logits=torch.from_numpy(self.session.run(["logits"], feed)[0]))


# Without it the stock pipeline logs that it does not know this class
AutoModelForTokenClassification.register(OnnxStudentConfig, OnnxStudent)


@dataclass(frozen=True)
class ExportReport:
    """How close an export is to the model.

    Args:
        difference (`float`): Largest absolute difference of a logit between PyTorch and the 32-bit graph.
        int8_difference (`float`, *optional*): The same for the quantized graph.
        int8_agreement (`float`, *optional*): Share of positions (MNER) or texts (MRE) whose best label the quantized
            graph keeps, on random subword tokens; real text agrees far more.
    """

    difference: float
    int8_difference: float | None = None
    int8_agreement: float | None = None


def export_onnx(
    model: CoTPDPreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    out: str | os.PathLike,
    int8: bool = False,
    tolerance: float = TOLERANCE,
) -> ExportReport:
    """Write a new folder with `model.onnx`, configuration and tokenizer, when the graph was compared with the model.

    Args:
        int8 (`bool`, *optional*, defaults to `False`): Quantize the weights of the matrix products to 8 bits, and
            activations as they come (dynamic quantization). It needs a processor with VNNI instructions; others add
            such products with saturation, and F1 falls. The comparison is that of the graph before.
        tolerance (`float`, *optional*, defaults to 1e-4): The largest difference of a logit that is accepted.
    """
    require_empty(out)
    if model.config.use_crf:
        message = "A CRF head loops over the text's subword tokens, which the exporter writes out for one length only."
        raise SettingError(message, fix="Train with use_crf=false, or use the PyTorch model.")
    try:
        from transformers.exporters import OnnxConfig, OnnxExporter, OnnxRuntimeDynamicConfig, OnnxRuntimeQuantizer
        from transformers.exporters.configs import ExportFormat
    except ImportError as error:
        raise SettingError(
            f"ONNX export needs packages that are missing ({error}).", fix="pip install -U 'modeling_cotpd[onnx]'"
        ) from error
    model = model.to("cpu").float().eval()
    model.config.architectures = [type(model).__name__]
    limit = min(model.get_base_model().max_text_length or tokenizer.model_max_length, tokenizer.model_max_length)
    tokenizer.model_max_length = limit
    # Sizes that no two dimensions share, so that the exporter ties none together
    sample = sample_inputs(model, 3, min(11, limit))
    with whole_folder(out) as staging:
        try:
            exported = OnnxExporter().export(model, sample, config=OnnxConfig(dynamic=True))
        except ImportError as error:
            raise SettingError(str(error), fix="pip install 'modeling_cotpd[onnx]'") from error
        exported.save_pretrained(staging)
        report = ExportReport(compare(model, OnnxStudent.from_folder(staging), limit)[0])
        if not report.difference <= tolerance:
            raise SettingError(
                f"The graph's logits differ from the model's by {report.difference:.1e}; {tolerance:.0e} is allowed.",
                fix="Export with other versions of torch and onnxscript, or use the PyTorch model.",
            )
        if int8:
            # a scale per output channel: with one for a whole matrix, entity F1 falls by half a point; tables
            # of embeddings, which nothing multiplies, stay as they are
            settings = OnnxRuntimeDynamicConfig(op_types_to_quantize=["MatMul", "Gemm"], per_channel=True)
            quantizer = OnnxRuntimeQuantizer(settings)
            component = next(iter(exported.components.values()))
            component.program = quantizer.quantize(component.program, sample, ExportFormat.ONNX)
            exported.save_pretrained(staging)
            difference, agreement = compare(model, OnnxStudent.from_folder(staging), limit)
            report = ExportReport(report.difference, difference, agreement)
        tokenizer.save_pretrained(staging)
    return report


def sample_inputs(model: CoTPDPreTrainedModel, rows: int, length: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random texts of several lengths up to `length`, padded on the right."""
    generator = torch.Generator().manual_seed(seed)
    vocabulary = model.config.get_text_config().vocab_size
    ids = torch.randint(vocabulary, (rows, length), generator=generator)
    lengths = torch.tensor([max(1, length - 2 * row) for row in range(rows)])
    inputs = {"input_ids": ids, "attention_mask": (torch.arange(length) < lengths[:, None]).long()}
    if isinstance(model, CoTPDForRelationExtraction):
        draws = torch.rand((rows, 2), generator=generator)
        inputs["marker_positions"] = (draws * lengths[:, None]).long()
    return inputs


def compare(model: CoTPDPreTrainedModel, exported: OnnxStudent, limit: int) -> tuple[float, float]:
    """Largest difference of a logit over batches of many shapes, and the share of best labels that are the same."""
    lengths = [*(length for length in LENGTHS if length < limit), min(limit, 512)]
    worst, same, total = 0.0, 0, 0
    for seed, length in enumerate(lengths):
        for rows in (1, 4):
            inputs = sample_inputs(model, rows, length, seed)
            with torch.inference_mode():
                expected, got = model(**inputs).logits, exported(**inputs).logits
            if expected.dim() == 3:
                attended = inputs["attention_mask"].bool()
                expected, got = expected[attended], got[attended]
            worst = max(worst, (expected - got).abs().max().item())
            same += int((expected.argmax(-1) == got.argmax(-1)).sum())
            total += len(expected)
    return worst, same / total
