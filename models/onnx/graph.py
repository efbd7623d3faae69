"""A golden model as a self-describing ONNX file.

The graph consists of function nodes of the domain "haarlequin" and nothing else, one for each operation of
the machine (`models.onnx.functions`). Their constants are those of `models.golden.specs`, with the same
names. Tensors have the names of the golden model's trace. Scalar constants (shifts) are attributes:
`layers.0.context.shift` is the attribute `shift` of the node `layers.0.context`. The metadata holds the
configuration, so that the file alone is enough to make the golden model again.
"""

import json
import zlib
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from haarlequin.models.common.files import replacing
from haarlequin.models.config import ModelConfig
from haarlequin.models.golden import FEATURE_BITS, GoldenModel, Spec, exp_table, specs
from haarlequin.models.onnx.functions import DOMAIN, DOMAIN_VERSION, FUNCTIONS, ONNX_OPSET

FORMAT_VERSION = 2
"""The metadata `haarlequin.version`: the version of the format that a reader must know."""

CHECKSUM = f"{DOMAIN}.crc32"
"""Name of the metadata that holds the `checksum`."""

_IR_VERSION = 10
_EXP_TABLE = "exp_table"


def export(golden: GoldenModel) -> onnx.ModelProto:
    """The golden model as ONNX: `pixels` uint8 (batch, H, W, channels) → `logits` int64 (batch, classes).

    The batch may have any size, 0 included. Every tensor of the graph has its type and shape in the file.
    """
    config = golden.config
    nodes = _Writer(golden).model()
    image, classes = ("batch", *config.image, config.channels), ("batch", len(config.classes))
    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, image)
    logits = helper.make_tensor_value_info("logits", TensorProto.INT64, classes)
    graph = helper.make_graph(nodes, config.name, [pixels], [logits], _initialisers(golden))
    model = helper.make_model(
        graph,
        functions=FUNCTIONS,
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
        self.rows, self.cols = golden.config.grid
        self.wide = golden.config.widths.wide
        self.heads = {"heads": self.config.heads, "d": self.config.dim // self.config.heads}
        self.nodes: list[onnx.NodeProto] = []

    def model(self) -> list[onnx.NodeProto]:
        x = self.embedding()
        for i in range(self.config.layers):
            x = self.attention(f"layers.{i}", x)
            x = self.mlp(f"layers.{i}", x)
        self.node("Pool", [x], ["pooled"])
        constants = self.constant_names("head", "a", "b", "weight", "bias")
        shift = self.scalar("head.shift")
        self.node("Head", ["pooled", *constants], ["logits"], "head", shift=shift, feature_bits=FEATURE_BITS)
        return self.nodes

    def embedding(self) -> str:
        return self.node(
            "Embedding",
            ["pixels", *self.constant_names("embedding", "weight", "bias", "a", "b", "position")],
            ["embedding.x"],
            "embedding",
            acc_shift=self.config.embedding_acc_shift,
            shift=self.scalar("embedding.shift"),
            patch=self.config.patch,
            rows=self.rows,
            cols=self.cols,
            channels=self.config.channels,
            wide_bits=self.wide,
        )

    def attention(self, layer: str, x: str) -> str:
        bands = self.bands(layer, x)
        v_wide = self.projection(f"{layer}.value", x, x)
        v = self.node("Sign", [v_wide, f"{layer}.value_move"], [f"{layer}.v"])
        attention = self.binary_attention(layer, bands)
        acc = self.context(layer, attention, v)
        ctx = self.irprelu(f"{layer}.context", acc, v_wide)
        return self.projection(f"{layer}.output", ctx, ctx, residual=x)

    def mlp(self, layer: str, x: str) -> str:
        repeats = {"repeats": self.config.mlp_ratio, "channels": self.config.dim}
        repeated = self.node("RepeatChannels", [x], [f"{layer}.repeated"], **repeats)
        u = self.projection(f"{layer}.expand", x, repeated)
        mean = self.node("MeanOfRepeats", [u], [f"{layer}.mean"], **repeats)
        return self.projection(f"{layer}.reduce", u, mean, residual=x)

    def bands(self, layer: str, x: str) -> list[str]:
        """The query and the key of each band."""
        inputs = [x]
        if self.config.hfsc:
            inputs = [f"{layer}.x_lo", f"{layer}.x_hi"]
            shape = {"rows": self.rows, "cols": self.cols, "channels": self.config.dim}
            self.node("HaarSplit", [x], inputs, **shape, wide_bits=self.wide)
        return [
            self.sign_projection(f"{layer}.{role}.{band}", band_x)
            for band, band_x in zip(self.config.bands, inputs, strict=True)
            for role in ("query", "key")
        ]

    def binary_attention(self, layer: str, bands: list[str]) -> str:
        return self.node(
            "HFSCAttention" if self.config.hfsc else "BinaryAttention",
            [*bands, f"{layer}.attention.score_weight", _EXP_TABLE, f"{layer}.attention.threshold"],
            [f"{layer}.attention", f"{layer}.scores"],
            **self.heads,
            shift=self.config.score_shift,
            fraction=self.config.widths.threshold,
        )

    def context(self, layer: str, attention: str, v: str) -> str:
        inputs, acc = [attention, v], [f"{layer}.context.acc"]
        if not self.config.diba:
            return self.node("Context", inputs, acc, **self.heads)
        inputs += self.constant_names(f"{layer}.local", "weight", "shift")
        shape = {"channels": self.config.dim, "rows": self.rows, "cols": self.cols}
        return self.node("DIBA", inputs, acc, **self.heads, **shape)

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
