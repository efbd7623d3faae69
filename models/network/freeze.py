"""`freeze()`: from a model in deploy mode to its golden model."""

import numpy as np

from haarlequin.models.golden import GoldenModel
from haarlequin.models.network.didb_vit import MLP, Attention, Convolution, DIDBViT
from haarlequin.models.network.layers import Constants


def freeze(model: DIDBViT) -> GoldenModel:
    """The golden model with the integer constants of ``model``. Raises ValueError in the float phase."""
    if not model.deployed:
        raise ValueError("only a model in deploy mode freezes: call deploy() first")
    groups: dict[str, Constants] = {"embedding": model.embedding.constants(), "head": model.head.constants()}
    constants: dict[str, np.ndarray] = {}
    for i, merge in model.merges.items():
        groups[f"layers.{i}.merge"] = merge.constants()
    for i, blocks in enumerate(model.layers):
        for block in blocks:
            groups |= {f"layers.{i}.{name}": group for name, group in _GROUPS[type(block)](block).items()}
            if isinstance(block, Attention):
                # It belongs to no module inside the attention, so no group has it.
                constants[f"layers.{i}.value_move"] = block.offset_constant(block.value_move)
    for name, group in groups.items():
        # Copied, because some constants are the model's own buffers.
        constants |= {f"{name}.{key}": value.cpu().numpy().copy() for key, value in group.items()}
    return GoldenModel(model.config, constants)


def _attention(module: Attention) -> dict[str, Constants]:
    """The constants of an attention, in groups that are named as in the golden model."""
    groups = {f"query.{band}": projection.constants() for band, projection in module.query.items()}
    groups |= {f"key.{band}": projection.constants() for band, projection in module.key.items()}
    return groups | {
        "value": module.value.constants(),
        "attention": module.attention.constants(bands=len(module.query)),
        "local": module.diba.constants(),
        "context": module.context.constants(),
        "output": module.output.constants(),
    }


def _mlp(module: MLP) -> dict[str, Constants]:
    return {"expand": module.expand.constants(), "reduce": module.reduce.constants()}


def _convolution(module: Convolution) -> dict[str, Constants]:
    return {"convolution": module.constants()}


_GROUPS = {Attention: _attention, MLP: _mlp, Convolution: _convolution}
