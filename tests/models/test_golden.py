import itertools
import re

import numpy as np
import pytest
import torch

from haarlequin.models import arithmetic
from haarlequin.models.config import ModelConfig, vit
from haarlequin.models.golden import ConstantsError, GoldenModel, specs
from haarlequin.models.network.didb_vit import DIDBViT
from haarlequin.models.network.freeze import freeze
from haarlequin.models.network.random_model import random_model
from haarlequin.models.widths import Widths
from tests.models.arithmetic import reference
from tests.models.extreme_widths import LARGEST, SMALLEST
from tests.models.network.reference_network import ReferenceNetwork

pytestmark = pytest.mark.slow

TINY = vit(
    name="tiny",
    image=(6, 4),
    channels=2,
    mean=(100.0, 50.0),
    patch=2,
    dim=6,
    heads=3,
    layers=1,
    classes=("a", "b", "c"),
    mlp_ratio=2,
)

SHAPES = {
    "one token": {"image": (2, 2)},
    "a row of tokens": {"image": (2, 14)},
    "a column of tokens": {"image": (10, 2)},
    "a pixel a token": {"image": (3, 5), "patch": 1, "channels": 1, "mean": (0.0,)},
    "one head": {"heads": 1, "dim": 7},
    "a channel a head": {"heads": 5, "dim": 5},
    "one channel": {"heads": 1, "dim": 1},
    "theta 1": {"theta": 1},
    "theta 5": {"theta": 5, "image": (8, 6)},
    "ratio 1": {"mlp_ratio": 1},
    "ratio 4": {"mlp_ratio": 4},
    "ratio 8": {"mlp_ratio": 8},
    "three layers": {"layers": 3},
    "one band counts": {"alpha": 1.0, "alpha_learned": False},
    "smallest widths": {"widths": SMALLEST},
    "largest widths": {"widths": LARGEST, "layers": 2},
}
SWITCHES = {
    f"{'+'.join(name for name, on in switches.items() if on) or 'none'}": switches
    for values in itertools.product((False, True), repeat=3)
    for switches in [dict(zip(("hfsc", "diba", "irprelu"), values, strict=True))]
}
CONFIGS = {name: TINY.with_(**changes) for name, changes in {**SHAPES, **SWITCHES}.items()}

every_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)


def random_pixels(config: ModelConfig, images: int, seed: int = 0) -> torch.Tensor:
    """Random images; the first is black, the second white."""
    generator = torch.Generator().manual_seed(seed)
    shape = (images, *config.image, config.channels)
    pixels = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
    pixels[:1], pixels[1:2] = 0, 255
    return pixels


def random_constants(config: ModelConfig, seed: int) -> dict[str, torch.Tensor]:
    """Constants drawn from the ranges of their specs alone, a third of them at an end or around zero."""
    generator = torch.Generator().manual_seed(seed)
    constants = {}
    for name, spec in specs(config).items():
        value = torch.randint(spec.low, spec.high + 1, spec.shape, generator=generator)
        if spec.signs:
            value = arithmetic.sign(torch.randint(-1, 1, spec.shape, generator=generator))
        elif spec.shape:
            edges = torch.tensor([spec.low, spec.high, min(max(0, spec.low), spec.high)])
            edge = edges[torch.randint(3, spec.shape, generator=generator)]
            value = torch.where(torch.rand(spec.shape, generator=generator) < 1 / 3, edge, value)
        constants[name] = value
    return constants


def as_lists(constants):
    return {name: value.tolist() for name, value in constants.items()}


@every_config
@pytest.mark.parametrize("seed", [1, 2])
def test_every_tensor_is_that_of_the_formulas(config, seed):
    golden = freeze(random_model(config, seed))
    _compare(golden, random_pixels(config, 3, seed))


@every_config
def test_every_tensor_is_that_of_the_formulas_whatever_the_constants(config):
    _compare(GoldenModel(config, random_constants(config, 3)), random_pixels(config, 3))


def _compare(golden, pixels):
    trace = {}
    logits = golden(pixels, trace)
    network = ReferenceNetwork(golden.config, as_lists(golden.constants))
    for i, image in enumerate(pixels.tolist()):
        expected = network(image)
        assert trace.keys() == expected.keys()
        for name, value in expected.items():
            assert trace[name][i].tolist() == value, f"{name} of image {i}"
        assert logits[i].tolist() == expected["logits"]


def test_the_largest_embedding_does_not_overflow():
    """254 × 254 pixels in one token, every product and the bias at its largest."""
    config = TINY.with_(image=(254, 254), patch=254, channels=1, mean=(0.0,), dim=1, heads=1, widths=LARGEST)
    constants = random_constants(config, 1)
    for sign, weight, pixel in ((1, -128, 0), (-1, 127, 0)):
        constants["embedding.weight"].fill_(weight)
        constants["embedding.bias"].fill_(sign * config.patch_length * 2**14)
        constants["embedding.a"].fill_(-2048)
        _compare(GoldenModel(config, constants), torch.full((1, 254, 254, 1), pixel, dtype=torch.uint8))


@every_config
def test_deploy_mode_and_its_frozen_twin_are_one_function(config):
    for seed in range(3):
        model = random_model(config, seed)
        golden, pixels = freeze(model), random_pixels(config, 20, seed)
        with torch.no_grad():
            assert np.array_equal(model.integer_logits(pixels), golden(pixels))


def test_a_fresh_model_and_its_frozen_twin_are_one_function():
    model = DIDBViT(TINY).eval()
    model.deploy()
    pixels = random_pixels(TINY, 20)
    assert np.array_equal(model.integer_logits(pixels), freeze(model)(pixels))


def test_freeze_refuses_the_float_phase():
    with pytest.raises(ValueError, match=r"only a model in deploy mode freezes: call deploy\(\) first"):
        freeze(DIDBViT(TINY))


def test_a_frozen_model_no_longer_follows_its_origin():
    model = random_model(TINY, 1)
    golden, pixels = freeze(model), random_pixels(TINY, 4)
    logits, constants = golden(pixels), as_lists(golden.constants)
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.add_(1)
    assert np.array_equal(golden(pixels), logits)
    assert as_lists(golden.constants) == constants


EMBEDDING_AND_HEAD = {"embedding.x": (6, 6), "pooled": (6,), "logits": (3,)}
ATTENTION = {
    "v": (6, 6),
    "scores": (3, 6, 6),
    "attention": (3, 6, 6),
    "context.acc": (6, 6),
    "context": (6, 6),
}


def _projection(name, inputs=6, outputs=6):
    return {f"{name}.signs": (6, inputs), f"{name}.acc": (6, outputs), name: (6, outputs)}


LAYER = {
    **_projection("value"),
    **ATTENTION,
    **_projection("output"),
    **_projection("expand", outputs=12),
    "mean": (6, 6),
    **_projection("reduce", inputs=12),
}
BANDS = {"x_lo": (6, 6), "x_hi": (6, 6)} | {
    name: shape
    for role in ("query.lo", "query.hi", "key.lo", "key.hi")
    for name, shape in _projection(role).items()
}


@pytest.mark.parametrize(
    ("changes", "layer"),
    [
        ({}, LAYER | BANDS),
        ({"diba": False, "irprelu": False}, LAYER | BANDS),
        ({"hfsc": False}, LAYER | _projection("query.x") | _projection("key.x")),
        ({"layers": 2}, LAYER | BANDS),
    ],
    ids=["all", "diba and irprelu off", "hfsc off", "two layers"],
)
def test_the_trace_has_every_tensor(changes, layer):
    config, trace = TINY.with_(**changes), {}
    freeze(random_model(config, 1))(random_pixels(config, 5), trace)
    layers = {f"layers.{i}.{name}": shape for i in range(config.layers) for name, shape in layer.items()}
    assert {name: tuple(value.shape) for name, value in trace.items()} == {
        name: (5, *shape) for name, shape in (EMBEDDING_AND_HEAD | layers).items()
    }


WIDE = ("embedding.x", "x_lo", "x_hi", "value", "context", "output", "expand", "mean", "reduce")


@every_config
def test_every_tensor_of_the_trace_stays_in_its_range(config):
    trace, reached = {}, set()
    GoldenModel(config, random_constants(config, 5))(random_pixels(config, 40), trace)
    for name, value in trace.items():
        low, high = int(value.min()), int(value.max())
        last = name if name == "embedding.x" else name.rpartition(".")[2]
        if last in WIDE:
            limit = 1 << (config.widths.wide - 1)
            assert -limit <= low <= high < limit, name
            reached |= {low, high} & {-limit, limit - 1}
        elif last == "attention":
            assert {low, high} <= {0, 1}, name
        elif name.endswith("context.acc"):
            local = config.theta**2 << ((1 << config.widths.local_shift) - 1) if config.diba else 0
            bound = (2 * config.tokens + 1 if config.diba else config.tokens) + local
            assert -bound <= low <= high <= bound, name
        elif last == "acc":
            assert max(-low, high) <= trace[name.removesuffix("acc") + "signs"].shape[-1], name
        elif last == "scores":
            weights = (1 << config.widths.score_weight) - 1
            assert max(-low, high) <= 2 * weights * config.head_dim, name
        elif last not in ("pooled", "logits"):
            assert set(np.unique(value).tolist()) <= {-1, 1}, name
    assert len(reached) == 2, "nothing saturated: the test shows nothing"


def test_the_size_of_a_batch_changes_nothing():
    config = TINY.with_(layers=2)
    golden, pixels = freeze(random_model(config, 4)), random_pixels(config, 37)
    logits, trace = golden(pixels), {}
    assert logits.shape == (37, 3)
    assert logits.dtype == np.int64
    assert len(np.unique(logits, axis=0)) > 1
    for size in (1, 2, 15, 16, 17, 32, 36):
        assert np.array_equal(np.concatenate([golden(part) for part in pixels.split(size)]), logits)
    assert np.array_equal(golden(pixels, trace), logits)
    assert np.array_equal(trace["logits"], logits)


def test_no_images_give_no_logits():
    golden = freeze(random_model(TINY, 1))
    assert golden(random_pixels(TINY, 0)).shape == (0, 3)
    assert golden(random_pixels(TINY, 0), {}).shape == (0, 3)


@pytest.mark.parametrize("name", ["all", "largest widths"])
def test_saturations_are_those_of_the_formulas(name, monkeypatch):
    config = CONFIGS.get(name, TINY)
    golden, pixels = freeze(random_model(config, 6)), random_pixels(config, 17)
    with arithmetic.count_saturations() as counter:
        golden(pixels)
    expected, saturate = 0, reference.saturate

    def counting(value, bits):
        nonlocal expected
        expected += saturate(value, bits) != value
        return saturate(value, bits)

    monkeypatch.setattr(reference, "saturate", counting)
    network = ReferenceNetwork(config, as_lists(golden.constants))
    for image in pixels.tolist():
        network(image)
    assert counter.clipped == expected > 0


PIXELS = random_pixels(TINY, 2).numpy()


@pytest.mark.parametrize(
    "pixels",
    [
        PIXELS.astype(np.int64),
        PIXELS.astype(np.float32),
        PIXELS.astype(np.int8),
        PIXELS[0],
        PIXELS[None],
        PIXELS[:, :4],
        PIXELS[..., :1],
        PIXELS.swapaxes(1, 2),
        PIXELS.transpose(0, 3, 1, 2),
    ],
    ids=["int64", "float", "int8", "one image", "5 axes", "too low", "grey", "on its side", "channels first"],
)
def test_wrong_pixels_are_refused(pixels):
    golden = freeze(random_model(TINY, 1))
    with pytest.raises(ValueError, match=r"pixels must be uint8 \(B, \(6, 4, 2\)\), not") as error:
        golden(pixels)
    assert f"{pixels.dtype} {pixels.shape}" in str(error.value)


WIDTHS = Widths(
    wide=13,
    multiplier=9,
    bias=11,
    affine_shift=(1, 5),
    slope=7,
    slope_shift=(2, 6),
    offset=10,
    score_weight=8,
    threshold=12,
    local_shift=2,
    embedding_shift=(3, 9),
    head_shift=(4, 11),
)
RANGES = {
    "embedding.weight": (-128, 127),
    "embedding.bias": (-(2**17), 2**17),
    "embedding.position": (-4096, 4095),
    "embedding.a": (-256, 255),
    "embedding.shift": (3, 9),
    "layers.0.query.lo.move": (-512, 511),
    "layers.0.key.hi.b": (-1024, 1023),
    "layers.0.value.a": (-256, 255),
    "layers.0.value.shift": (1, 5),
    "layers.0.value.slope_shift": (2, 6),
    "layers.0.value_move": (-512, 511),
    "layers.0.attention.score_weight": (0, 255),
    "layers.0.attention.threshold": (1, 4095),
    "layers.0.local.shift": (0, 3),
    "layers.0.context.b": (-1024, 1023),
    "layers.0.output.positive": (-64, 63),
    "layers.0.output.negative": (-64, 63),
    "layers.0.expand.offset": (-512, 511),
    "layers.0.reduce.token": (-512, 511),
    "head.shift": (4, 11),
    "head.weight": (-128, 127),
    "head.bias": (-(2**21), 2**21 - 1),
}


@pytest.mark.parametrize(("name", "low", "high"), [(name, *ends) for name, ends in RANGES.items()], ids=str)
def test_both_ends_of_a_range_are_allowed_and_nothing_beyond(name, low, high):
    config = TINY.with_(widths=WIDTHS)
    constants = random_constants(config, 1)
    for value in (low, high):
        GoldenModel(config, constants | {name: torch.full_like(constants[name], value)})
    for value in (low - 1, high + 1):
        message = re.escape(f"{name} must be within {low} to {high}, not {value} to {value}")
        with pytest.raises(ConstantsError, match=message):
            GoldenModel(config, constants | {name: torch.full_like(constants[name], value)})


@pytest.mark.parametrize("value", [-2, 0, 2])
@pytest.mark.parametrize(
    "name", ["layers.0.key.hi.weight", "layers.0.local.weight", "layers.0.reduce.weight"]
)
def test_binary_weights_are_signs(name, value):
    constants = random_constants(TINY, 1)
    constants[name].fill_(value)
    with pytest.raises(ConstantsError, match=rf"{name} must be −1 or \+1, not {value} to {value}"):
        GoldenModel(TINY, constants)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("head.bias", torch.Tensor.int, "must be int64 (3,), not int32 (3,)"),
        ("head.bias", torch.Tensor.double, "must be int64 (3,), not float64 (3,)"),
        ("head.bias", lambda v: v[:2], "must be int64 (3,), not int64 (2,)"),
        ("head.weight", lambda v: v.T, "must be int64 (3, 6), not int64 (6, 3)"),
        ("head.shift", lambda v: v[None], "must be int64 (), not int64 (1,)"),
    ],
    ids=["int32", "float64", "too short", "transposed", "no scalar"],
)
def test_a_constant_of_another_type_or_shape_is_refused(name, change, message):
    constants = random_constants(TINY, 1)
    with pytest.raises(ConstantsError, match=re.escape(f"{name} {message}")):
        GoldenModel(TINY, constants | {name: change(constants[name])})


def test_of_several_wrong_constants_the_first_is_named():
    constants = random_constants(TINY, 1)
    for name in ("head.bias", "layers.0.reduce.a", "embedding.weight", "layers.0.query.lo.a"):
        constants[name].fill_(10**6)
    with pytest.raises(ConstantsError, match=r"embedding\.weight must be within -128 to 127"):
        GoldenModel(TINY, constants)


def test_one_value_out_of_range_is_enough():
    constants = random_constants(TINY, 1)
    constants["layers.0.value.weight"][5, 5] = 0
    with pytest.raises(ConstantsError, match=r"layers\.0\.value\.weight must be −1 or \+1, not -1 to 1"):
        GoldenModel(TINY, constants)


def test_missing_and_unknown_constants_are_named_and_counted():
    constants = random_constants(TINY, 1)
    without = {name: v for name, v in constants.items() if name not in ("head.a", "embedding.b", "head.b")}
    with pytest.raises(ConstantsError, match=r"missing constant embedding\.b \(3 missing\)"):
        GoldenModel(TINY, without)
    with pytest.raises(ConstantsError, match=r"unknown constant extra \(2 unknown\)"):
        GoldenModel(TINY, constants | {"extra": constants["head.a"], "head.c": constants["head.a"]})
    with pytest.raises(ConstantsError, match=r"missing constant head\.b \(1 missing\)"):
        GoldenModel(TINY, {("head.c" if name == "head.b" else name): v for name, v in constants.items()})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hfsc": False}, r"missing constant layers\.0\.key\.x\.a \(10 missing\)"),
        ({"diba": False}, r"unknown constant layers\.0\.local\.shift \(2 unknown\)"),
        ({"irprelu": False}, r"layers\.0\.value\.token must be within 0 to 0, not"),
        ({"layers": 2}, r"missing constant layers\.1\.attention\.score_weight"),
        ({"image": (4, 4)}, r"embedding\.position must be int64 \(4, 6\), not int64 \(6, 6\)"),
        ({"theta": 5}, r"layers\.0\.local\.weight must be int64 \(6, 5, 5\), not int64 \(6, 3, 3\)"),
    ],
    ids=str,
)
def test_the_constants_of_another_model_are_refused(changes, message):
    constants = random_constants(TINY, 1)
    with pytest.raises(ConstantsError, match=message):
        GoldenModel(TINY.with_(**changes), constants)
