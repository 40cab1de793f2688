"""An exported model in ONNX Runtime, where a PyTorch model is expected."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from transformers import AutoModelForTokenClassification, PreTrainedModel

from modeling_cotpd.configuration_cotpd import CoTPDConfig
from modeling_cotpd.errors import SettingError, one_line
from modeling_cotpd.modeling_cotpd import CoTPDOutput
from modeling_cotpd.training.pretrained import load_config

if TYPE_CHECKING:
    import onnxruntime

ONNX_FILE = "model.onnx"


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
