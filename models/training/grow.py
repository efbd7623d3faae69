"""Begin with what a smaller network has learned: `grown` puts its layers into a larger one."""

from torch import Tensor

from haarlequin.models.common.errors import UsageError
from haarlequin.models.config import ModelConfig
from haarlequin.models.network.didb_vit import DIDBViT


def grown(config: ModelConfig, source: DIDBViT) -> DIDBViT:
    """A network of ``config`` with all of ``source`` that fits into it; the rest is untrained.

    Block i of a stage comes from block i of the stage with the same number. An offset for each token goes to
    all tokens at its place of a finer grid. Tensors of other shapes stay untrained.

    Raises `UsageError` where nothing fits.
    """
    made = DIDBViT(config)
    state, old = made.state_dict(), source.state_dict()
    partners = dict(_partners(config, source.config))
    fitted = {}
    for name, value in state.items():
        part, _, rest = name.partition(".")
        number, _, inner = rest.partition(".")
        if part not in ("layers", "merges"):
            partner, grids = name, None
        elif (mine := int(number)) in partners:
            theirs = partners[mine]
            partner = f"{part}.{theirs}.{inner}"
            grids = config.places[mine].config.grid, source.config.places[theirs].config.grid
        else:
            continue
        if partner in old and (found := _fitted(old[partner], value, grids)) is not None:
            fitted[name] = found
    if not any(value.ndim > 1 for value in fitted.values()):
        raise UsageError(f"nothing of {source.config.name} fits into {config.name}")
    made.load_state_dict(state | fitted)
    return made


def _partners(config: ModelConfig, source: ModelConfig) -> list[tuple[int, int]]:
    """The numbers of layers that both networks have, in the one and in the other."""
    found, mine, theirs = [], 0, 0
    for stage, other in zip(config.stages, source.stages, strict=False):
        found += [(mine + i, theirs + i) for i in range(min(stage.layers, other.layers))]
        mine, theirs = mine + stage.layers, theirs + other.layers
    return found


def _fitted(old: Tensor, new: Tensor, grids: tuple[tuple[int, int], tuple[int, int]] | None) -> Tensor | None:
    """A tensor of the other network in the shape of ``new``; None where it has another one."""
    if old.shape == new.shape:
        return old.clone()
    if grids is None or new.ndim != 1:
        return None
    (rows, columns), (old_rows, old_columns) = grids
    finer = rows % old_rows == 0 and columns % old_columns == 0
    if not finer or (len(new), len(old)) != (rows * columns, old_rows * old_columns):
        return None
    values = old.reshape(old_rows, old_columns).repeat_interleave(rows // old_rows, 0)
    return values.repeat_interleave(columns // old_columns, 1).reshape(-1).clone()
