"""onnxruntime: the one place that imports it, with its telemetry off, and makes sessions.

From 1.32 on it writes an identifier of the computer and a queue of events under the home folder, and a file
into the temporary one, and looks up the host that these go to. A variable of the environment forbids it where
it is set before the import.
"""

import os
from pathlib import Path

# Before the import, and whatever the user has: no result depends on it.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime


def session(model: bytes | str | Path, threads: int = 0) -> onnxruntime.InferenceSession:
    """A session of a model, the bytes of an ONNX file or its name, on ``threads`` threads of the CPU; 0: one
    for each core.

    It logs nothing: what is wrong is in the exception, and its exceptions have no class in common.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    source = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, options, ["CPUExecutionProvider"])
