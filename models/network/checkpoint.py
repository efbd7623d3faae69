"""Checkpoints: one safetensors file with the configuration as JSON in its header; never pickle.

The binary weights of a finished model are stored as one bit each (1 means +1, least significant bit first).
The checkpoint of a model in training holds its real weights.
"""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from haarlequin.models.common.errors import ConfigError, UsageError
from haarlequin.models.common.files import replacing
from haarlequin.models.config import ModelConfig
from haarlequin.models.golden import specs
from haarlequin.models.network.didb_vit import DIDBViT
from haarlequin.models.network.layers import Affine, IRPReLU
from haarlequin.models.network.segmenter import Segmenter, SegmenterConfig
from haarlequin.models.network.teacher import Teacher, TeacherConfig

FORMAT = "haarlequin-checkpoint-1"

LAYER_TENSORS = 9
"""Tensors that each layer of a network has at least: those of a convolution without offsets of tokens."""

_KINDS: dict[str, tuple[Callable[[Any], DIDBViT | Teacher], type[ModelConfig] | type[TeacherConfig]]]
_KINDS = {
    "didb-vit": (DIDBViT, ModelConfig),
    "teacher": (Teacher, TeacherConfig),
    "segmenter": (Segmenter, SegmenterConfig),
}


class CheckpointError(UsageError, ValueError):
    """A file that is no whole checkpoint of this project; the message names the file and says why."""


def save(
    path: Path,
    model: DIDBViT | Teacher,
    pack: bool = False,
    extra: Mapping[str, Tensor] | None = None,
    **facts,
) -> None:
    """Write ``model`` to ``path``. A file that is already there is replaced only when the new one is whole.

    ``pack`` stores the binary weights of a finished model as bits; they are read back as exactly ±1.
    ``extra`` tensors and ``facts`` (anything that JSON holds) come back from `read`. Raises `CheckpointError`
    for a value that is not finite, before anything is written. The last good checkpoint of a training that
    diverged is thus kept.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    if name := _not_finite(tensors | dict(extra or {})):
        raise CheckpointError(
            f"{path} is not written: tensor {name} holds a value that is not finite; the training has "
            "diverged, begin again with a lower --lr"
        )
    if pack:
        tensors |= {name: _pack(tensors[name]) for name in model.binary_weights()}
    header = {
        "format": FORMAT,
        "config": model.config.to_json(),
        "kind": next(kind for kind, (network, _) in _KINDS.items() if type(model) is network),
        "deployed": model.deployed,
        "packed": pack,
        **facts,
    }
    with replacing(path) as draft:
        save_file(
            tensors | dict(extra or {}), draft, {key: json.dumps(value) for key, value in header.items()}
        )


def load(path: Path) -> DIDBViT:
    """The model in a checkpoint, in the phase it was saved in; raises `CheckpointError`."""
    model = read(path)[0]
    if isinstance(model, Teacher):
        raise CheckpointError(f"{path} holds a teacher, which has no integers: give a DIDB-ViT's checkpoint")
    return model


def load_teacher(path: Path) -> Teacher:
    """The teacher in a checkpoint; raises `CheckpointError`."""
    model = read(path)[0]
    if not isinstance(model, Teacher):
        raise CheckpointError(f"{path} holds no teacher but a {model.config.name}")
    return model


def read(path: Path) -> tuple[DIDBViT | Teacher, dict[str, Tensor], dict]:
    """(model, extra tensors, facts) of a checkpoint; raises `CheckpointError`."""
    tensors, header = _read_file(path)
    if name := _not_finite(tensors):
        raise CheckpointError(
            f"{path}: tensor {name} holds a value that is not finite: take another checkpoint, or train again"
        )
    try:
        network, configuration = _KINDS[header.pop("kind", "didb-vit")]
        config = configuration.from_json(header.pop("config"))
        _check_size(path, config, tensors)
        model = network(config)
        if header.pop("deployed"):
            model.deploy()
        state = model.state_dict()
        missing = sorted(state.keys() - tensors)
        if missing:
            raise CheckpointError(f"{path}: not a whole checkpoint, tensor {missing[0]} is missing")
        if header.pop("packed"):
            tensors |= {name: _unpack(tensors[name], state[name].shape) for name in model.binary_weights()}
        model.load_state_dict({name: tensors.pop(name) for name in state})
        _check_shifts(path, model)
    except (KeyError, TypeError, RuntimeError, ConfigError) as error:
        raise CheckpointError(
            f"{path}: not a checkpoint of this version: {str(error).splitlines()[0]}"
        ) from error
    return model.eval(), tensors, header


def _read_file(path: Path) -> tuple[dict[str, Tensor], dict]:
    try:
        with path.open("rb"):  # safetensors calls every file that it cannot open missing
            pass
    except OSError as error:
        why = "no such checkpoint" if isinstance(error, FileNotFoundError) else error.strerror
        raise CheckpointError(f"{path}: {why}; give the path of a .safetensors file") from None
    try:
        with safe_open(path, "pt") as file:
            header = {key: json.loads(value) for key, value in (file.metadata() or {}).items()}
            if header.pop("format", None) != FORMAT:
                raise CheckpointError(f"{path}: a safetensors file, but no {FORMAT}")
            return {name: file.get_tensor(name) for name in file.keys()}, header  # noqa: SIM118
    except (SafetensorError, ValueError, RecursionError, OSError) as error:
        raise CheckpointError(f"{path}: truncated or no safetensors file ({error})") from None


def _check_size(path: Path, config: ModelConfig | TeacherConfig, tensors: Mapping[str, Tensor]) -> None:
    """Raise `CheckpointError` where the tensors are too few or too small for the network: building it would
    take time and memory without a limit. Each layer has several tensors, and each weight is a bit or more.
    """
    if isinstance(config, ModelConfig):
        layers = sum(stage.layers for stage in config.stages)
    else:
        layers = config.blocks
    bits = 8 * sum(tensor.nbytes for tensor in tensors.values())
    if LAYER_TENSORS * layers > len(tensors) or _weights(config) > bits:
        raise CheckpointError(f"{path}: not a whole checkpoint, it has too few tensors for {config.name}")


def _weights(config: ModelConfig | TeacherConfig) -> int:
    """No more than the values that the tensors of a network have, and not many fewer."""
    if isinstance(config, ModelConfig):
        # A pre-norm has no constants, but all else that there is.
        constants = specs(config.with_(pre_norm=False)).values()
        return sum(math.prod(spec.shape) for spec in constants if spec.low < spec.high)
    channels = 64 * config.width
    return 9 * channels**2 * config.blocks + channels * len(config.classes)


def _check_shifts(path: Path, model: DIDBViT | Teacher) -> None:
    """Raise `CheckpointError` where a shift lies outside its window.

    All other constants are clipped to their widths.
    """
    for name, layer in model.named_modules():
        if isinstance(layer, Affine | IRPReLU) and layer.deployed:
            (low, high), shift = layer.window, int(layer.shift)
            if not low <= shift <= high:
                raise CheckpointError(
                    f"{path}: {name}.shift must lie within {low} to {high}, not {shift}: take another "
                    "checkpoint, or train again"
                )


def _not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """Name of the first tensor with a value that no float32 holds: an infinity, a NaN or a complex one."""
    return next(
        (name for name, value in tensors.items() if value.is_complex() or not value.float().isfinite().all()),
        None,
    )


def _pack(weight: Tensor) -> Tensor:
    bits = (weight >= 0).flatten().numpy()
    return torch.from_numpy(np.packbits(bits, bitorder="little"))


def _unpack(packed: Tensor, shape: torch.Size) -> Tensor:
    count = shape.numel()
    if packed.dtype != torch.uint8 or packed.numel() != -(-count // 8):
        raise CheckpointError(f"packed weights of {packed.numel()} bytes cannot be {tuple(shape)}")
    bits = np.unpackbits(packed.numpy(), count=count, bitorder="little")
    return torch.from_numpy(bits.astype(np.float32) * 2 - 1).reshape(shape)
