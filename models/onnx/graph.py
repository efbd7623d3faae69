"""A golden model as a self-describing ONNX file.

The graph consists of function nodes of the domain "haarlequin" and nothing else, one for each operation of
the machine (`functions.py`, `stage_functions.py`). Their constants are those of `models.golden.specs`, with
the same names. Tensors have the names of the golden model's trace. Scalar constants (shifts) are attributes:
`layers.0.context.shift` is the attribute `shift` of the node `layers.0.context`. The metadata holds the
configuration, so that the file alone is enough to make the golden model again.
"""

import json
import zlib
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from haarlequin.models.common.errors import ConfigError
from haarlequin.models.common.files import replacing
from haarlequin.models.config import LayerPlace, ModelConfig
from haarlequin.models.golden import FEATURE_BITS, GoldenModel, Spec, exp_table, specs
from haarlequin.models.onnx.functions import DOMAIN, DOMAIN_VERSION, ONNX_OPSET
from haarlequin.models.onnx.stage_functions import functions_for
from haarlequin.models.stages import CONVOLUTION, MLP

FORMAT_VERSION = 2
"""The metadata `haarlequin.version`: the version of the format that a reader must know."""

CHECKSUM = f"{DOMAIN}.crc32"
"""Name of the metadata that holds the `checksum`."""

_IR_VERSION = 10
_EXP_TABLE = "exp_table"


def export(golden: GoldenModel) -> onnx.ModelProto:
    """The golden model as ONNX: `pixels` uint8 (batch, H, W, channels) → `logits` int64 (batch, classes), or
    (batch, tokens, classes) for segmentation.

    The batch may have any size, 0 included. Every tensor of the graph has its type and shape in the file.
    Raises `ConfigError` for a network that only the golden model computes.
    """
    config = golden.config
    if config.golden_only:
        raise ConfigError(f"{config.name} shifts its windows: only the golden model computes that")
    if not config.stem.patch and config.patch_length > 1024:  # 1024·2^14 = 2^24
        raise ConfigError(
            f"{config.name} has {config.channels} channels: a convolution sums up to 113 in ONNX"
        )
    nodes = _Writer(golden).model()
    (rows, columns), count = config.grids[-1], len(config.classes)
    image = ("batch", *config.image, config.channels)
    classes = ("batch", rows * columns, count) if config.segmentation else ("batch", count)
    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, image)
    logits = helper.make_tensor_value_info("logits", TensorProto.INT64, classes)
    graph = helper.make_graph(nodes, config.name, [pixels], [logits], _initialisers(golden))
    model = helper.make_model(
        graph,
        functions=functions_for(node.op_type for node in nodes),
        opset_imports=[helper.make_opsetid("", ONNX_OPSET), helper.make_opsetid(DOMAIN, DOMAIN_VERSION)],
        ir_version=_IR_VERSION,
        producer_name=DOMAIN,
    )
    helper.set_model_props(model, metadata(config) | {CHECKSUM: checksum(golden)})
    return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)


def checksum(golden: GoldenModel) -> str:
    """CRC-32 of all constants: nothing else would show a flipped bit, which gives a valid weight, too."""
    crc = 0
    for name in specs(golden.config):
        crc = zlib.crc32(golden.constants[name].astype("<i8").tobytes(), crc)
    return f"{crc:08x}"


def metadata(config: ModelConfig) -> dict[str, str]:
    """The metadata of the file, by name: everything that it says beside the graph."""
    return {
        f"{DOMAIN}.version": str(FORMAT_VERSION),
        f"{DOMAIN}.config": config.to_json(),
        f"{DOMAIN}.classes": json.dumps(config.classes, ensure_ascii=False),
        f"{DOMAIN}.preprocessing": json.dumps(_preprocessing(config), ensure_ascii=False),
        f"{DOMAIN}.logit_scale": repr(config.logit_scale),
    }


def serialised(model: onnx.ModelProto) -> bytes:
    """The bytes of the file, always the same for the same model."""
    return model.SerializeToString(deterministic=True)


def save(model: onnx.ModelProto, path: Path) -> int:
    """Write the file, whole or not at all, and return its size in bytes."""
    content = serialised(model)
    with replacing(path) as draft:
        draft.write_bytes(content)
    return len(content)


def _preprocessing(config: ModelConfig) -> dict:
    """How a picture becomes `pixels`, in plain words."""
    height, width = config.image
    return {
        "height": height,
        "width": width,
        "channels": config.channels,
        "colour": "grey" if config.channels == 1 else "RGB",
        "layout": "BHWC",
        "dtype": "uint8",
        "resize": "keep proportions, shrink or grow until height × width is just covered, then centre crop",
        "mean": config.mean,
        "normalise": "no: pixels stay 0 to 255; the mean is folded into embedding.bias",
    }


def _initialisers(golden: GoldenModel) -> list[TensorProto]:
    """Every constant that is a tensor, and the EXP table, each in the narrowest type that its spec allows."""
    w = golden.config.widths
    table = np.array(exp_table(w))
    constants = golden.constants | {_EXP_TABLE: table}
    stored = specs(golden.config) | {_EXP_TABLE: Spec.unsigned(w.exp, len(table))}
    return [
        numpy_helper.from_array(constants[name].astype(_storage(spec)), name)
        for name, spec in stored.items()
        if spec.shape
    ]


def _storage(spec: Spec) -> type[np.signedinteger]:
    """The narrowest signed type that holds the range of ``spec``."""
    types = (np.int8, np.int16, np.int32)
    return next(t for t in types if np.iinfo(t).min <= spec.low and spec.high <= np.iinfo(t).max)


class _Writer:
    """Follows the forward pass of the golden model and writes a node for every operation.

    Methods take and return names of tensors. A node has the name of its first output. The exceptions are
    `embedding` and `head`, whose names are those of the scalar constants that are their attributes.
    """

    def __init__(self, golden: GoldenModel):
        self.config, self.constants = golden.config, golden.constants
        self.wide = golden.config.widths.wide
        self.nodes: list[onnx.NodeProto] = []

    def model(self) -> list[onnx.NodeProto]:
        x = self.embedding()
        for place in self.config.places:
            x = self.layer(place, x)
        if self.config.segmentation:
            inputs = [self.binary_linear("head", x), *self.constant_names("head", "a", "b")]
            self.node(
                "TokenLogits",
                inputs,
                ["logits"],
                "head",
                shift=self.scalar("head.shift"),
                wide_bits=self.wide,
            )
            return self.nodes
        self.node("Pool", [x], ["pooled"])
        constants = self.constant_names("head", "a", "b", "weight", "bias")
        shift = self.scalar("head.shift")
        self.node("Head", ["pooled", *constants], ["logits"], "head", shift=shift, feature_bits=FEATURE_BITS)
        return self.nodes

    def embedding(self) -> str:
        stem, (rows, cols) = self.config.stem, self.config.grids[0]
        constants = self.constant_names("embedding", "weight", "bias", "a", "b")
        scalars = {"acc_shift": self.config.embedding_acc_shift, "shift": self.scalar("embedding.shift")}
        shape = {"rows": rows, "cols": cols, "channels": self.config.channels, "wide_bits": self.wide}
        if stem.patch:
            inputs = ["pixels", *constants, "embedding.position"]
            shape = {"patch": stem.patch} | shape
            return self.node("Embedding", inputs, ["embedding.x"], "embedding", **scalars, **shape)
        shape |= {"stride": stem.stride, "dim": self.config.stages[0].dim}
        inputs = ["pixels", *constants]
        return self.node("ConvolutionEmbedding", inputs, ["embedding.x"], "embedding", **scalars, **shape)

    def layer(self, place: LayerPlace, x: str) -> str:
        stage = place.config.stage
        if place.merged:
            x = self.merge(place, place.merged, x)
        if stage.kind != CONVOLUTION:
            x = self.attention(place, x)
        return (self.mlp if stage.feed_forward == MLP else self.convolution)(place, x)

    def merge(self, place: LayerPlace, before: ModelConfig, x: str) -> str:
        name, (rows, cols) = f"{place.name}.merge", place.config.grid
        shape = {"rows": rows, "cols": cols, "channels": before.dim}
        signs = self.node("Sign", [x, f"{name}.move"], [f"{name}.token_signs"])
        side_by_side = self.node("MergeTokens", [signs], [f"{name}.signs"], **shape)
        acc = self.node("SignLinear", [side_by_side, f"{name}.weight"], [f"{name}.acc"])
        as_many = 4 * before.dim == place.config.dim
        merged = self.node("MergeTokens", [x], [f"{name}.{'shortcut' if as_many else 'merged'}"], **shape)
        return self.irprelu(name, acc, self.merge_shortcut(name, merged, 4 * before.dim, place.config.dim))

    def merge_shortcut(self, name: str, merged: str, inputs: int, outputs: int) -> str:
        if inputs == outputs:
            return merged
        fewer = outputs < inputs
        repeats = {"repeats": max(inputs, outputs) // min(inputs, outputs), "channels": min(inputs, outputs)}
        op = "MeanOfRepeats" if fewer else "RepeatChannels"
        return self.node(op, [merged], [f"{name}.shortcut"], **repeats)

    def convolution(self, place: LayerPlace, x: str) -> str:
        name, (rows, cols) = f"{place.name}.convolution", place.config.grid
        inputs = [x, *self.constant_names(name, "move", "weight")]
        shape = {"rows": rows, "cols": cols, "channels": place.config.dim}
        acc = self.node("BinaryConvolution", inputs, [f"{name}.acc", f"{name}.signs"], **shape)
        return self.irprelu(name, acc, x)

    def attention(self, place: LayerPlace, x: str) -> str:
        layer, config = place.name, place.config
        bands = self.bands(place, self.split(config, x, f"{layer}.windows"))
        v_wide = self.projection(f"{layer}.value", x, x)
        # The golden model's v is in windows, its context.acc is not.
        v_name = f"{layer}.v_tokens" if config.stage.window else f"{layer}.v"
        v = self.node("Sign", [v_wide, f"{layer}.value_move"], [v_name])
        attention = self.binary_attention(place, bands)
        acc = self.context(place, attention, self.split(config, v, f"{layer}.v"))
        ctx = self.irprelu(f"{layer}.context", self.join(config, acc, f"{layer}.context.acc"), v_wide)
        return self.projection(f"{layer}.output", ctx, ctx, residual=x)

    def mlp(self, place: LayerPlace, x: str) -> str:
        layer, config = place.name, place.config
        repeats = {"repeats": config.mlp_ratio, "channels": config.dim}
        repeated = self.node("RepeatChannels", [x], [f"{layer}.repeated"], **repeats)
        u = self.projection(f"{layer}.expand", x, repeated)
        mean = self.node("MeanOfRepeats", [u], [f"{layer}.mean"], **repeats)
        return self.projection(f"{layer}.reduce", u, mean, residual=x)

    def split(self, config: ModelConfig, x: str, name: str) -> str:
        """``x`` in windows, if there are any."""
        return self.windows(config, "ToWindows", x, name) if config.stage.window else x

    def join(self, config: ModelConfig, x: str, name: str) -> str:
        """The inverse of `split`."""
        return self.windows(config, "FromWindows", x, name) if config.stage.window else x

    def windows(self, config: ModelConfig, op: str, x: str, name: str) -> str:
        size, (rows, cols) = config.stage.window, config.grid
        shape = {"rows": rows // size, "cols": cols // size, "size": size, "channels": config.dim}
        return self.node(op, [x], [name], **shape)

    def bands(self, place: LayerPlace, x: str) -> list[str]:
        """The query and the key of each band."""
        layer, config, inputs = place.name, place.config, [x]
        if config.hfsc:
            inputs = [f"{layer}.x_lo", f"{layer}.x_hi"]
            rows, cols = config.window_alone().grid
            shape = {"rows": rows, "cols": cols, "channels": config.dim}
            self.node("HaarSplit", [x], inputs, **shape, wide_bits=self.wide)
        return [
            self.sign_projection(f"{layer}.{role}.{band}", band_x)
            for band, band_x in zip(config.bands, inputs, strict=True)
            for role in ("query", "key")
        ]

    def binary_attention(self, place: LayerPlace, bands: list[str]) -> str:
        layer, config = place.name, place.config
        return self.node(
            "HFSCAttention" if config.hfsc else "BinaryAttention",
            [*bands, f"{layer}.attention.score_weight", _EXP_TABLE, f"{layer}.attention.threshold"],
            [f"{layer}.attention", f"{layer}.scores"],
            heads=config.heads,
            d=config.head_dim,
            shift=config.score_shift,
            fraction=config.widths.threshold,
        )

    def context(self, place: LayerPlace, attention: str, v: str) -> str:
        layer, config = place.name, place.config
        heads = {"heads": config.heads, "d": config.head_dim}
        inputs, acc = [attention, v], [f"{layer}.context.{'windows' if config.stage.window else 'acc'}"]
        if not config.diba:
            return self.node("Context", inputs, acc, **heads)
        inputs += self.constant_names(f"{layer}.local", "weight", "shift")
        rows, cols = config.window_alone().grid
        shape = {"channels": config.dim, "rows": rows, "cols": cols}
        op = {"fixed": "DIBA", "none": "LocalContext", "learned": "ScaledDIBA"}[config.own]
        if config.own == "learned":
            inputs.append(f"{layer}.local.own_shift")
        return self.node(op, inputs, acc, **heads, **shape)

    def binary_linear(self, name: str, x: str) -> str:
        inputs = [x, *self.constant_names(name, "move", "weight")]
        return self.node("BinaryLinear", inputs, [f"{name}.acc", f"{name}.signs"])

    def sign_projection(self, name: str, x: str) -> str:
        inputs = [self.binary_linear(name, x), x, *self.constant_names(name, "a", "b")]
        return self.node("SignAffine", inputs, [name], shift=self.scalar(f"{name}.shift"))

    def projection(self, name: str, x: str, shortcut: str, residual: str | None = None) -> str:
        return self.irprelu(name, self.binary_linear(name, x), shortcut, residual)

    def irprelu(self, name: str, acc: str, shortcut: str, residual: str | None = None) -> str:
        wide = [acc, shortcut] if residual is None else [acc, shortcut, residual]
        return self.node(
            "IRPReLU" if residual is None else "ResidualIRPReLU",
            [*wide, *self.constant_names(name, "a", "b", "positive", "negative", "offset", "token")],
            [name],
            shift=self.scalar(f"{name}.shift"),
            slope_shift=self.scalar(f"{name}.slope_shift"),
            wide_bits=self.wide,
        )

    def constant_names(self, prefix: str, *names: str) -> list[str]:
        """The full names of these constants of ``prefix``."""
        return [f"{prefix}.{name}" for name in names]

    def scalar(self, name: str) -> int:
        """The value of a scalar constant."""
        return int(self.constants[name])

    def node(
        self, op: str, inputs: list[str], outputs: list[str], name: str = "", /, **attributes: int
    ) -> str:
        """Add a node and return its first output."""
        name = name or outputs[0]
        self.nodes.append(helper.make_node(op, inputs, outputs, name, domain=DOMAIN, **attributes))
        return outputs[0]
