"""Configurations as JSON, which checkpoints and ONNX files have: of networks, teachers and segmenters."""

import json
from pathlib import Path

from haarlequin.models.common.errors import ConfigError
from haarlequin.models.config import ModelConfig
from haarlequin.models.network.segmenter import SEGMENTERS, SegmenterConfig
from haarlequin.models.network.teacher import TEACHERS, TeacherConfig
from haarlequin.models.presets import PRESETS
from tests.hostile.engine import Reader, Wrong
from tests.hostile.mutate import damaged_json

_KINDS = (ModelConfig, TeacherConfig, SegmenterConfig)


def _corpus(folder: Path) -> list[bytes]:
    configs = [*PRESETS.values(), *TEACHERS.values(), *SEGMENTERS.values()]
    return [json.dumps(json.loads(config.to_json())).encode() for config in configs]


def _read(data: bytes, folder: Path) -> None:
    """Each kind reads it. A configuration must be the same once it is written and read again."""
    text, refusals = data.decode(errors="replace"), []
    for kind in _KINDS:
        try:
            config = kind.from_json(text)
        except ConfigError as error:
            refusals.append(error)
            continue
        again = kind.from_json(config.to_json())
        if again != config or again.to_json() != config.to_json():
            raise Wrong(f"{config} becomes {again}")
        if isinstance(config, ModelConfig):
            assert config.grids
            assert config.logit_scale > 0
    if len(refusals) == len(_KINDS):
        raise refusals[len(data) % len(_KINDS)]


READER = Reader("configs", (ConfigError,), _corpus, _read, damaged_json, seconds=1, megabytes=512)
