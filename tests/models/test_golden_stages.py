"""Networks in stages: deploy mode = golden model = onnxruntime = the formulas in lists of integers."""

from functools import cache

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from haarlequin.models import arithmetic
from haarlequin.models.common.errors import ConfigError
from haarlequin.models.config import ModelConfig, vit
from haarlequin.models.golden import ConstantsError, GoldenModel, specs
from haarlequin.models.network import checkpoint
from haarlequin.models.network.freeze import freeze
from haarlequin.models.network.random_model import random_model
from haarlequin.models.onnx import graph
from tests.models.extreme_widths import LARGEST, SMALLEST
from tests.models.network.reference_network import ReferenceNetwork
from tests.models.runtime import observed, run
from tests.models.test_golden import as_lists, random_constants, random_pixels

pytestmark = pytest.mark.slow

BASE = vit(
    name="staged",
    image=(8, 8),
    channels=1,
    mean=(100.0,),
    patch=2,
    dim=4,
    heads=1,
    layers=1,
    classes=("a", "b", "c"),
    mlp_ratio=2,
)
RGB = {"channels": 3, "mean": (1.0, 128.0, 255.0)}
SHAPES = {
    "convolutions first, attention last": {"stages": "/2 c6x2 a12x2h3", **RGB},
    "a pyramid": {"stages": "/1 c2x1 c4x1 t8x1h2 a16x1h1", "image": (8, 16)},
    "merges to 2, 4 and 8 times": {"stages": "/1 c1x1 t2x1 a8x1h2 c64x1", "image": (8, 8)},
    "merges to fewer": {"stages": "/1 c8x1 c4x1 a2x1 c1x1", "image": (8, 8)},
    "three times as many": {"stages": "/1 c1x1 a12x1h3 c3x1", "image": (4, 4)},
    "windows": {"stages": "p2 t6x2h2w2", "image": (8, 16)},
    "windows on a grid of one": {"stages": "p8 t6x1h1w1"},
    "windows with a wide convolution": {"stages": "p2 a6x1h3w3", "image": (12, 6), "theta": 5},
    "shifted windows": {"stages": "p2 a6x4h1s2", "image": (8, 12)},
    "a shifted window as large as the grid": {"stages": "p2 t4x2h2s4"},
    "shifted, one band, no DIBA": {"stages": "p2 t4x2h2s4", "hfsc": False, "diba": False, "image": (16, 8)},
    "the grid stays": {"stages": "/2 c6x1n =a6x1h2 =t6x1h3n", "image": (6, 10)},
    "no own term": {"stages": "/2 a6x1h2 t12x1h2", "own": "none"},
    "a learned own term": {"stages": "/2 a6x1h2 t12x1h2w2", "own": "learned"},
    "a learned own term on patches": {"own": "learned", "dim": 6, "heads": 3},
    "no own term on patches": {"own": "none"},
    "own terms without DIBA": {"own": "learned", "diba": False, "stages": "/2 a6x1h2"},
    "segmentation": {"stages": "/2 c4x1 a8x1h2", "image": (24, 32), "segmentation": True},
    "segmentation on patches": {"segmentation": True, "image": (6, 10)},
    "segmentation with large widths": {"stages": "/1 c4x1", "segmentation": True, "widths": LARGEST},
    "an odd grid": {"stages": "/1 c5x2", "image": (3, 5), **RGB},
    "an odd grid after a stride": {"stages": "/2 c3x1 =a3x1h1", "image": (6, 14)},
    "a row": {"stages": "/1 c5x1 =a5x1h5", "image": (1, 7)},
    "a column": {"stages": "/1 c5x1 =a5x1h5", "image": (7, 1)},
    "one token": {"stages": "/1 c3x1 =t3x1h3", "image": (1, 1)},
    "merged to one token": {"stages": "/2 c3x1 a6x1h2", "image": (4, 4)},
    "no IRPReLU, one band": {"stages": "/2 c3x1 a6x1h2", "irprelu": False, "hfsc": False},
    "no DIBA": {"stages": "/2 c3x1 a6x1h2", "diba": False},
    "smallest widths": {"stages": "/2 c4x1 t4x1h1w2 a2x1h2", "image": (16, 8), "widths": SMALLEST},
    "largest widths": {"stages": "/2 c4x1 t4x2h1s2 a2x1h2", "image": (16, 8), "widths": LARGEST},
}
CONFIGS = {name: BASE.with_(**changes) for name, changes in SHAPES.items()}
every_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)


def shifts(config: ModelConfig) -> bool:
    return any(stage.shifted for stage in config.stages)


EXPORTED = {name: config for name, config in CONFIGS.items() if not shifts(config)}
every_exported = pytest.mark.parametrize("config", EXPORTED.values(), ids=EXPORTED)
OTHERS = {name: config for name, config in CONFIGS.items() if shifts(config)}
every_other = pytest.mark.parametrize("config", OTHERS.values(), ids=OTHERS)


@cache
def golden_of(config: ModelConfig) -> GoldenModel:
    return freeze(random_model(config, 3))


@cache
def file_of(config: ModelConfig) -> onnx.ModelProto:
    return graph.export(golden_of(config))


def compare(golden: GoldenModel, pixels: torch.Tensor) -> None:
    """Assert that every tensor of the trace is that of the formulas."""
    trace: dict[str, np.ndarray] = {}
    logits = golden(pixels, trace)
    assert np.array_equal(golden(pixels), logits)
    network = ReferenceNetwork(golden.config, as_lists(golden.constants))
    for i, image in enumerate(pixels.tolist()):
        expected = network(image)
        assert trace.keys() == expected.keys()
        for name, value in expected.items():
            # Windows are images of their own: their tensors have as many times as many images.
            each = len(trace[name]) // len(pixels)
            ours = trace[name][i * each : (i + 1) * each].tolist()
            assert ours in (value, [value]), f"{name} of image {i}"


@every_config
def test_every_tensor_is_that_of_the_formulas(config):
    compare(golden_of(config), random_pixels(config, 3, 1)[1:])


@every_config
def test_every_tensor_is_that_of_the_formulas_whatever_the_constants(config):
    compare(GoldenModel(config, random_constants(config, 3)), random_pixels(config, 3)[1:])


@every_config
def test_deploy_mode_and_its_frozen_twin_are_one_function(config):
    model = random_model(config, 2)
    golden, pixels = freeze(model), random_pixels(config, 10, 2)
    logits = golden(pixels)
    count = (config.grids[-1][0] * config.grids[-1][1],) if config.segmentation else ()
    assert logits.shape == (10, *count, 3)
    with torch.no_grad():
        assert np.array_equal(model.integer_logits(pixels), logits)
    for mode in (model.train(), model.eval()):
        assert np.array_equal(mode.integer_logits(pixels), logits), "with gradients"
    assert np.array_equal(model.double().integer_logits(pixels), logits)


@every_exported
def test_onnxruntime_gives_every_tensor_of_the_golden_model(config):
    pixels, trace = random_pixels(config, 4, 3), {}
    golden_of(config)(pixels, trace)
    outputs = run(observed(file_of(config)), {"pixels": pixels})
    assert trace.keys() <= outputs.keys()
    wrong = [name for name, value in trace.items() if not np.array_equal(outputs[name], value)]
    assert wrong == []


@every_exported
def test_the_file_is_valid_and_a_batch_of_0_has_no_logits(config):
    golden, model = golden_of(config), file_of(config)
    onnx.checker.check_model(model, full_check=True)
    infos = {v.name: v.type.tensor_type.shape.dim for v in (*model.graph.value_info, *model.graph.output)}
    assert infos.keys() == {name for node in model.graph.node for name in node.output}
    trace: dict[str, np.ndarray] = {}
    golden(random_pixels(config, 3), trace)
    shapes = {name: [dimension.dim_value for dimension in infos[name][1:]] for name in trace}
    assert shapes == {name: [*value.shape[1:]] for name, value in trace.items()}
    outputs = run(observed(model), {"pixels": random_pixels(config, 0)})
    assert {len(value) for value in outputs.values()} == {0}
    assert outputs["logits"].shape[1:] == trace["logits"].shape[1:]
    assert golden(random_pixels(config, 0)).shape == outputs["logits"].shape


@every_exported
def test_the_file_alone_makes_the_golden_model_again(config):
    golden, model = golden_of(config), file_of(config)
    metadata = {p.key: p.value for p in model.metadata_props}
    again = ModelConfig.from_json(metadata["haarlequin.config"])
    assert again == config
    attributes = {f"{n.name}.{a.name}": a.i for n in model.graph.node for a in n.attribute}
    found = attributes | {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    for name, value in golden.constants.items():
        assert np.array_equal(found[name], value), name
    assert float(metadata["haarlequin.logit_scale"]) == config.logit_scale


@every_other
def test_onnx_refuses_shifted_windows_in_one_line(config):
    with pytest.raises(ConfigError) as error:
        graph.export(golden_of(config))
    assert str(error.value) == "staged shifts its windows: only the golden model computes that"


def test_onnx_refuses_a_stem_whose_sums_no_float32_holds():
    for channels in (113, 114):
        golden = GoldenModel.blank(BASE.with_(stages="/2 c1x1", channels=channels, mean=(0,) * channels))
        golden.constants["embedding.weight"][:] = -128
        golden._c["embedding.weight"][:] = -128
        pixels = random_pixels(golden.config, 3)
        if channels == 113:
            assert np.array_equal(run(graph.export(golden), {"pixels": pixels})["logits"], golden(pixels))
            continue
        with pytest.raises(
            ConfigError, match="staged has 114 channels: a convolution sums up to 113 in ONNX"
        ):
            graph.export(golden)


def test_a_single_layer_of_shifted_windows_has_nothing_to_shift():
    golden = freeze(random_model(BASE.with_(stages="p2 t4x1h1s2"), 1))
    pixels = random_pixels(BASE, 3)
    assert np.array_equal(run(graph.export(golden), {"pixels": pixels})["logits"], golden(pixels))


@pytest.mark.parametrize(
    "name",
    [
        *("convolutions first, attention last", "merges to fewer", "shifted windows", "segmentation"),
        *("the grid stays", "a learned own term", "largest widths"),
    ],
)
def test_a_checkpoint_comes_back_packed_and_unpacked(name, tmp_path):
    config = CONFIGS[name]
    model, pixels = random_model(config, 4), random_pixels(config, 4)
    logits = freeze(model)(pixels)
    for pack in (False, True):
        path = tmp_path / f"{pack}.safetensors"
        checkpoint.save(path, model, pack=pack)
        loaded = checkpoint.load(path)
        assert loaded.config == config
        assert np.array_equal(freeze(loaded)(pixels), logits)
    with torch.no_grad():
        assert np.array_equal(loaded.integer_logits(pixels), logits)


def test_binary_weights_of_every_kind_take_one_bit_each(tmp_path):
    """Convolutions, merges, the local convolution and a head for tokens, too."""
    model = random_model(BASE.with_(stages="/1 c5x1 a10x1h1", segmentation=True), 1)
    path = tmp_path / "model.safetensors"
    checkpoint.save(path, model, pack=True)
    stored = checkpoint._read_file(path)[0]
    weights = model.binary_weights()
    assert {name.partition(".")[0] for name in weights} == {"layers", "merges", "head"}
    assert weights["layers.0.0.convolution.convolution.weight"].shape == (5, 5, 3, 3)
    assert weights["merges.1.linear.linear.weight"].shape == (10, 20)
    assert len(weights) == 1 + 1 + (4 + 1 + 1 + 1) + 1 + 1  # Q and K of two bands, V, local, O
    for name, weight in weights.items():
        assert stored[name].numel() == -(-weight.numel() // 8)
    floats = {name for name, value in stored.items() if value.is_floating_point() and value.dim() > 2}
    assert floats == set()


def test_constants_of_stages_have_their_ranges():
    config = BASE.with_(stages="/2 c4x1n a8x1h2", own="learned")
    wanted = specs(config)
    assert "embedding.position" not in wanted
    assert wanted["embedding.weight"].shape == (4, 9)
    assert wanted["layers.0.convolution.weight"].shape == (4, 4, 3, 3)
    assert wanted["layers.0.convolution.weight"].signs
    token = wanted["layers.0.convolution.token"]
    assert (token.shape, token.low, token.high) == ((16,), 0, 0)
    assert wanted["layers.1.merge.weight"].shape == (8, 16)
    assert wanted["layers.1.merge.move"].shape == (4,)
    assert wanted["layers.1.merge.token"].shape == (4,)
    own = wanted["layers.1.local.own_shift"]
    assert (own.shape, own.low, own.high) == ((8,), 0, 7)
    constants = random_constants(config, 1)
    constants["layers.1.local.own_shift"].fill_(8)
    with pytest.raises(
        ConstantsError, match=r"layers\.1\.local\.own_shift must be within 0 to 7, not 8 to 8"
    ):
        GoldenModel(config, constants)


def test_saturations_of_the_head_for_tokens_are_counted():
    config = CONFIGS["segmentation"]
    constants = random_constants(config, 1)
    constants["head.b"].fill_(2**13 - 1)
    constants["head.a"].fill_(0)
    golden, pixels = GoldenModel(config, constants), random_pixels(config, 2)
    with arithmetic.count_saturations() as all_of_them:
        assert (golden(pixels) == 2047).all()
    golden._c["head.b"][:] = 2047
    with arithmetic.count_saturations() as others:
        golden(pixels)
    assert all_of_them.clipped - others.clipped == 2 * 12 * 16 * 3 // 4
