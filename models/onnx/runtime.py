"""onnxruntime: the only module that imports it, with its telemetry off, and makes sessions.

From 1.32 on, onnxruntime writes an identifier of the computer and a queue of events below the home folder,
and a file in the folder for temporary files, and looks up the host that it sends them to. An environment
variable that is set before the import forbids all of this.
"""

import os
from pathlib import Path

# Set before the import, and over any value that the user has set: no result depends on it.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime


def session(model: bytes | str | Path, threads: int = 0) -> onnxruntime.InferenceSession:
    """A session that runs ``model``, the bytes of an ONNX file or its path, on that many threads of the CPU;
    0 means one per core.

    It logs nothing: errors are in the exceptions, which have no common class of their own.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    source = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, options, ["CPUExecutionProvider"])
