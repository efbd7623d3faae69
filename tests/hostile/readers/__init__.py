"""Every reader of a stranger's bytes, one per file. They are imported only in the processes that hunt,
because some of them import torch.
"""

COUNTS = {
    "frames": 500_000,
    "answers": 5_000,
    "pictures": 200_000,
    "boot": 50_000,
    "tables": 50_000,
    "archives": 20_000,
    "cifar": 30_000,
    "checkpoints": 20_000,
    "onnx": 2_000,
    "names": 5_000,
    "results": 10_000,
    "summaries": 10_000,
    "configs": 20_000,
    "stamps": 10_000,
    "http": 20_000,
}
"""How many damaged files each of them has to read."""

FILES = {"onnx": "onnx_files", "http": "http_requests"}
"""Files that have another name than their reader."""

PLACES = {name: f"tests.hostile.readers.{FILES.get(name, name)}:READER" for name in COUNTS}
