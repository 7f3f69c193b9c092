"""Networks in ONNX that others made, opened by ONNX Runtime on the processor."""

from __future__ import annotations

from typing import Any

import torch


def open_session(content: bytes) -> Any:
    """Open a model, with as many threads as torch has; returns an `onnxruntime.InferenceSession`.

    Raises:
        ValueError: The content is no ONNX model that runs alone.
        ImportError: onnxruntime is not installed.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, torch.get_num_threads()
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime has a dozen kinds, which share no class
        reason = (str(error).splitlines() or [""])[0]
        raise ValueError(f"not an ONNX model that can be run: {reason}") from error
