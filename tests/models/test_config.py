import json
import math
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors import safe_open

from haarlequin.models import config as config_module
from haarlequin.models.common.errors import ConfigError
from haarlequin.models.config import ModelConfig, vit
from haarlequin.models.presets import override
from haarlequin.models.stages import GRAMMAR, Stem, parse
from haarlequin.models.widths import Widths
from tests.models.cases import case_id, json_values, makes_a_config_or_a_config_error

CONFIG = vit(
    name="plain",
    image=(8, 8),
    channels=1,
    mean=(78.0,),
    patch=2,
    dim=64,
    heads=2,
    layers=4,
    classes=tuple("0123456789"),
)

NAME = (
    'name must be at most 100 characters that a folder can be called, none of / \\ : * ? " < > | '
    "and no . - or space at its ends"
)

CONFIG_ERRORS = [
    *(
        ({"name": name}, f"{NAME}, not {name!r}")
        for name in (
            "",
            5,
            "..",
            "../up",
            "a/b",
            "/etc/passwd",
            "a\\b",
            "C:",
            "a\0b",
            "a\n",
            ".x",
            "-x",
            " x",
            "x.",
        )
    ),
    ({"name": "\x1b[2J"}, f"{NAME}, not '\\x1b[2J'"),
    ({"name": 101 * "x"}, f"{NAME}, not '{101 * 'x'}'"),
    ({"image": 8}, "image must be a height and a width, not 8"),
    ({"image": [8, 8]}, "image must be a height and a width, not [8, 8]"),
    ({"image": (8,)}, "image must be a height and a width, not (8,)"),
    ({"image": (8, 8, 8)}, "image must be a height and a width, not (8, 8, 8)"),
    ({"image": (8.0, 8)}, "image height must be an integer from 1 to 65536, not 8.0"),
    ({"image": (8, "8")}, "image width must be an integer from 1 to 65536, not '8'"),
    ({"image": (7, 8)}, "image 7×8 must divide into patches of 2"),
    ({"image": (8, 9)}, "image 8×9 must divide into patches of 2"),
    ({"image": (1024, 1024)}, "tokens must be at most 65536, not 262144"),
    ({"channels": 0}, "channels must be an integer from 1 to 65536, not 0"),
    ({"patch": -2}, "patch must be an integer from 1 to 65536, not -2"),
    ({"dim": 64.0}, "dim must be an integer from 1 to 65536, not 64.0"),
    ({"dim": 10**400}, "dim must be an integer from 1 to 65536, not 1000"),
    ({"dim": 65}, "dim must be a multiple of heads: 65 is no multiple of 2"),
    ({"heads": True}, "heads must be an integer from 1 to 65536, not True"),
    ({"heads": 3}, "dim must be a multiple of heads: 64 is no multiple of 3"),
    ({"layers": 0}, "layers must be an integer from 1 to 65536, not 0"),
    ({"layers": None}, "layers must be an integer from 1 to 65536, not None"),
    ({"mlp_ratio": 0}, "mlp_ratio must be an integer from 1 to 65536, not 0"),
    ({"mlp_ratio": 3}, "mlp_ratio must be a power of two, not 3"),
    ({"mlp_ratio": 6}, "mlp_ratio must be a power of two, not 6"),
    ({"mlp_ratio": 2048}, "mlp_ratio × dim must be at most 65536, not 131072"),
    ({"theta": 2}, "theta must be 1, 3 or 5, not 2"),
    ({"theta": 7}, "theta must be 1, 3 or 5, not 7"),
    ({"theta": "3"}, "theta must be an integer from 1 to 65536, not '3'"),
    ({"alpha": -0.1}, "alpha must lie in [0, 1], not -0.1"),
    ({"alpha": 1.1}, "alpha must lie in [0, 1], not 1.1"),
    ({"alpha": math.nan}, "alpha must lie in [0, 1], not nan"),
    ({"alpha": True}, "alpha must lie in [0, 1], not True"),
    ({"alpha": "0.9"}, "alpha must lie in [0, 1], not '0.9'"),
    *(
        ({switch: value}, f"{switch} must be true or false, not {value!r}")
        for switch, value in [
            ("hfsc", 1),
            ("diba", "true"),
            ("irprelu", None),
            ("pre_norm", 1),
            ("alpha_learned", 0),
            ("segmentation", 1),
        ]
    ),
    ({"mean": ()}, "mean must be 1 values of 0 to 255, not ()"),
    ({"mean": (1.0, 2.0)}, "mean must be 1 values of 0 to 255, not (1.0, 2.0)"),
    ({"mean": (-0.5,)}, "mean must be 1 values of 0 to 255, not (-0.5,)"),
    ({"mean": (255.5,)}, "mean must be 1 values of 0 to 255, not (255.5,)"),
    ({"mean": (math.nan,)}, "mean must be 1 values of 0 to 255, not (nan,)"),
    ({"mean": (False,)}, "mean must be 1 values of 0 to 255, not (False,)"),
    ({"mean": ("78",)}, "mean must be 1 values of 0 to 255, not ('78',)"),
    ({"mean": 78.0}, "mean must be 1 values of 0 to 255, not 78.0"),
    ({"mean": [78.0]}, "mean must be 1 values of 0 to 255, not [78.0]"),
    *(
        ({"classes": ("one", name)}, f"a class must have a name that can be printed, not {name!r}")
        for name in ("", " ", "two\n", "\x1b]0;mine\7", "\0", "\ud800", "\u202eowt", "a\tb")
    ),
    ({"classes": ("one",)}, "classes must be the names of two or more classes, not ('one',)"),
    ({"classes": ("one", 2)}, "classes must be the names of two or more classes, not ('one', 2)"),
    ({"classes": "0123456789"}, "classes must be the names of two or more classes, not '0123456789'"),
    ({"classes": 10}, "classes must be the names of two or more classes, not 10"),
    ({"image": (512, 512), "patch": 256}, "patch 256 is too large: the embedding could overflow its int32"),
    ({"widths": None}, "widths must be a Widths, not None"),
    ({"widths": {"wide": 12}}, "widths must be a Widths, not {'wide': 12}"),
    (
        {"widths": Widths(score_weight=6, exp_step=1e-3)},
        "exp_step 0.001 is too fine for a score_weight of 6 bits",
    ),
]


def merge_error(inputs, outputs):
    return (
        f"a merge makes {outputs} channels of 4·{inputs}: one must be a multiple of the other, and where "
        "there are fewer, by a power of two"
    )


STAGES_ERRORS = [
    ({"stem": "p2"}, "stem must be a Stem, not 'p2'"),
    ({"stem": None}, "stem must be a Stem, not None"),
    *(
        ({"stages": value}, f"stages must be one Stage or more, not {value!r:.120}")
        for value in (None, (), [], 5, ("p2 t64x1",), list(CONFIG.stages), (CONFIG.stages[0], None))
    ),
    ({"stages": ""}, f"a network is {GRAMMAR}; not ''"),
    ({"stages": "64"}, f"a network is {GRAMMAR}; not '64'"),
    ({"own": "half"}, "own must be fixed, learned or none, not 'half'"),
    ({"own": None}, "own must be fixed, learned or none, not None"),
    # Grids.
    ({"stages": "p3 t64x1"}, "image 8×8 must divide into patches of 3"),
    ({"stages": "/2 c8x1", "image": (7, 8)}, "image 7×8 must be a multiple of 2"),
    ({"stages": "/2 c8x1", "image": (8, 9)}, "image 8×9 must be a multiple of 2"),
    ({"stages": "/1 c8x1", "image": (512, 256)}, "tokens must be at most 65536, not 131072"),
    ({"stages": "p8 t8x1 t8x1"}, "a grid of 1×1 cannot be merged: both must be even"),
    ({"stages": "/1 c8x1 c8x1", "image": (2, 3)}, "a grid of 2×3 cannot be merged: both must be even"),
    (
        {"stages": "/1 c8x1 c8x1 =c8x1 c8x1", "image": (12, 6)},
        "a grid of 6×3 cannot be merged: both must be even",
    ),
    # Windows.
    ({"stages": "/1 t8x1w3"}, "a grid of 8×8 must divide into windows of 3"),
    ({"stages": "/1 t8x1w16"}, "a grid of 8×8 must divide into windows of 16"),
    ({"stages": "/1 t8x1w4", "image": (8, 6)}, "a grid of 8×6 must divide into windows of 4"),
    ({"stages": "/1 c8x1 a8x1s8", "image": (24, 16)}, "a grid of 12×8 must divide into windows of 8"),
    (
        {"stages": "/1 a8x2s64", "image": (64, 64)},
        "windows of 64 on a grid of 64×64 are too large to be shifted",
    ),
    ({"stages": "/1 c8x1" + 64 * " =c8x1"}, "a network has at most 64 stages, not 65"),
    # Sums.
    (
        {"stages": "/1 c228x1"},
        "a binary 3×3 convolution of 228 channels sums up to 2052: a wide tensor of 12 bits holds 2047",
    ),
    (
        {"stages": "/1 c8x1 c8x1 a256x1", "image": (8, 8)},
        "a binary 3×3 convolution of 256 channels sums up to 2304: a wide tensor of 12 bits holds 2047",
    ),
    ({"stages": "/1 t512x1 t512x1"}, "a merge of 4·512 channels sums up to 2048, 2047 at most"),
    # Channels from stage to stage.
    ({"stages": "/1 c8x1 =c16x1"}, "without a merge the channels stay 8, not 16"),
    ({"stages": "/1 c16x1 =t8x1"}, "without a merge the channels stay 16, not 8"),
    *(
        ({"stages": f"/1 c{inputs}x1 c{outputs}x1"}, merge_error(inputs, outputs))
        for inputs, outputs in [(8, 12), (8, 33), (8, 48), (3, 4), (3, 1), (6, 8), (5, 25), (1, 3), (1, 6)]
    ),
]


@pytest.mark.parametrize(("changes", "message"), STAGES_ERRORS, ids=case_id)
def test_stages_that_do_not_fit_say_so(changes, message):
    with pytest.raises(ConfigError) as error:
        CONFIG.with_(**changes)
    assert str(error.value) == message


@pytest.mark.parametrize(
    "changes",
    [
        {"stages": "/1 c227x1"},
        {"stages": "/1 a227x1h1"},
        {"stages": "/1 c228x1", "widths": Widths(wide=13)},
        {"stages": "/1 t256x1h1"},  # an MLP has no such limit
        {"stages": "/1 t511x1h1 t511x1h1"},
        {"stages": "/1 c1x1 c1x1", "image": (2, 2)},
        {"stages": "/2 c8x1", "image": (2, 2)},
        {"stages": "/1 c4x1 c1x1 c2x1 c4x1"},
        {"stages": "/1 c2x1 c24x1 =c24x1 a12x1"},  # three times as many, then an eighth
        {"stages": "/1 t6x1h3w2 =t6x1h2s8 =t6x2h1w1"},
        {"stages": "/1 a8x2s32", "image": (64, 64)},
        {"stages": "/1 a8x2w64", "image": (64, 64)},
        {"stages": "/1 c8x1" + 63 * " =c8x1"},
        {"own": "none"},
        {"own": "learned", "segmentation": True},
    ],
    ids=case_id,
)
def test_stages_at_their_limits_are_legal(changes):
    config = CONFIG.with_(**changes)
    again = ModelConfig.from_json(config.to_json())
    assert again == config
    assert again.to_json() == config.to_json()
    assert hash(again) == hash(config)


PYRAMID = CONFIG.with_(stages="/2 c8x2n a16x2s2 =t16x1h1", image=(8, 16))


def test_what_follows_from_stages():
    assert PYRAMID.stem == Stem(stride=2)
    assert PYRAMID.structure == "/2 c8x2n a16x2s2 =t16x1"
    assert PYRAMID.grids == ((4, 8), (2, 4), (2, 4))
    assert PYRAMID.patch_length == 9
    assert CONFIG.with_(stages="/1 c8x1", channels=3, mean=(1, 2, 3)).patch_length == 27
    assert PYRAMID.embedding_acc_shift == CONFIG.with_(image=(9, 9), patch=3).embedding_acc_shift
    assert PYRAMID.logit_scale == CONFIG.logit_scale
    assert PYRAMID.with_(segmentation=True).logit_scale == 2.0**-8


def test_a_layer_knows_its_place():
    places = PYRAMID.places
    assert [place.name for place in places] == [f"layers.{i}" for i in range(5)]
    assert [place.config.stage.dim for place in places] == [8, 8, 16, 16, 16]
    assert [place.config.grid for place in places] == [(4, 8)] * 2 + [(2, 4)] * 3
    assert [place.shift for place in places] == [0, 0, 0, 1, 0]
    assert [place.merged and place.merged.dim for place in places] == [None, None, 8, None, None]
    assert places[2].merged.grid == (4, 8)
    assert [place.config.irprelu for place in places] == [False, False, True, True, True]


def test_a_stage_alone_is_a_network_of_one_stage_with_a_token_for_each_pixel():
    for i, (stage, grid) in enumerate(zip(PYRAMID.stages, PYRAMID.grids, strict=True)):
        alone = PYRAMID.with_(segmentation=True).alone(i)
        assert alone.stage == replace(stage, merge=False)
        assert (alone.grid, alone.image, alone.stem) == (grid, grid, Stem(1))
        assert not alone.segmentation
        assert alone.alone(0) == alone
        assert alone.irprelu is stage.token_offsets
        assert PYRAMID.with_(irprelu=False).alone(i).irprelu is False


def test_a_window_alone_is_an_image_of_its_own():
    windowed = PYRAMID.alone(1)
    assert windowed.window_alone().grid == (2, 2)
    assert windowed.window_alone().stage == replace(windowed.stage, window=0, shifted=False)
    assert CONFIG.window_alone() is CONFIG


def test_the_first_stage_has_nothing_to_merge():
    _, (stage,) = parse("/1 c8x1")
    merging = CONFIG.with_(stem=Stem(), stages=(replace(stage, merge=True),))
    assert merging == CONFIG.with_(stages="/1 c8x1")
    assert merging.to_json() == CONFIG.with_(stages="/1 c8x1").to_json()


@pytest.mark.parametrize("name", ["stage", "dim", "grid", "tokens", "heads", "layers", "head_dim"])
def test_several_stages_have_no_shape_in_common(name):
    with pytest.raises(ConfigError, match=r"plain has 3 stages, not one: /2 c8x2n a16x2s2 =t16x1"):
        getattr(PYRAMID, name)


def test_words_replace_stem_and_stages():
    config = CONFIG.with_(stages="/1 c8x1 a16x1h1")
    assert override(CONFIG, ["stages=/1 c8x1 a16x1h1"]) == config
    assert override(CONFIG, ['stages="/1 c8x1 a16x1h1"', "own=none"]) == config.with_(own="none")
    assert (config.stem, config.stages) == parse("/1 c8x1 a16x1h1")
    assert config.with_(stages="p2 t64x4") == CONFIG


def test_the_short_fields_change_the_only_stage():
    config = CONFIG.with_(stages="/2 a64x4w2n")
    assert config.with_(dim=96, heads=4, layers=1).structure == "/2 a96x1h4w2n"
    assert override(config, ["patch=4", "layers=2"]).structure == "p4 a64x2w2n"
    with pytest.raises(ConfigError, match="a stage of convolutions has neither heads nor windows"):
        CONFIG.with_(stages="/2 c64x1").with_(heads=2)


@pytest.mark.parametrize("name", ["dim", "heads", "layers"])
def test_the_short_fields_do_not_say_which_of_several_stages(name):
    for change in (lambda: PYRAMID.with_(**{name: 2}), lambda: override(PYRAMID, [f"{name}=2"])):
        with pytest.raises(ConfigError, match=rf"plain has several stages: set stages, not {name}$"):
            change()


def test_a_stem_of_several_stages_can_be_patches():
    assert PYRAMID.with_(patch=2).structure == "p2 c8x2n a16x2s2 =t16x1"


@pytest.mark.parametrize("config", [CONFIG, PYRAMID], ids=["one stage", "several"])
def test_both_forms_at_once_are_refused(config):
    message = r"^stages say what patch, dim would say$"
    with pytest.raises(ConfigError, match=message):
        config.with_(stages="/1 c8x1", dim=8, patch=2)
    with pytest.raises(ConfigError, match=message):
        override(config, ["dim=8", "stages=/1 c8x1", "patch=2"])
    with pytest.raises(ConfigError, match=message):
        ModelConfig.from_json(json.dumps(PYRAMID.to_dict() | {"dim": 8, "patch": 2}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("/2 c32x4 a128", f"a network is {GRAMMAR}; not '/2 c32x4 a128'"),
        (5, f"a network is {GRAMMAR}; not 5"),
        (["/2", "c32x4"], f"a network is {GRAMMAR}; not ('/2', 'c32x4')"),
        (None, f"a network is {GRAMMAR}; not None"),
        ("/2 c8x1 c9x1", merge_error(8, 9)),
    ],
    ids=str,
)
def test_from_json_refuses_words_that_are_no_network(text, message):
    with pytest.raises(ConfigError) as error:
        ModelConfig.from_json(json.dumps(PYRAMID.to_dict() | {"stages": text}))
    assert str(error.value) == message


def test_from_json_does_not_know_the_stem_apart_from_the_stages():
    with pytest.raises(ConfigError, match="unknown in ModelConfig: stem"):
        ModelConfig.from_json(json.dumps(PYRAMID.to_dict() | {"stem": "/2"}))
    with pytest.raises(ConfigError, match="unknown in ModelConfig: stem"):
        override(PYRAMID, ["stem=/2"])


SHORT = ("patch", "dim", "heads", "layers")


@pytest.mark.parametrize(
    ("words", "short"),
    [
        ("p2 t64x4", True),
        ("p1 t7x1h7", True),
        ("p2 t64x4n", False),
        ("p2 t64x4w2", False),
        ("p2 a64x4", False),
        ("p2 c64x4", False),
        ("/1 t64x4", False),
        ("/2 c8x1 t16x1", False),
        ("p2 t16x1 =t16x1", False),
    ],
)
def test_json_has_words_only_where_the_short_fields_do_not_say_it_all(words, short):
    config = CONFIG.with_(stages=words)
    values = config.to_dict()
    assert [name in values for name in SHORT] == [short] * 4
    assert values.get("stages") == (None if short else words)
    assert "stem" not in values
    order = [*values]
    shape = SHORT if short else ("stages",)
    assert order[: order.index("classes")] == ["name", "image", "channels", "mean", *shape]
    assert ModelConfig.from_json(config.to_json()) == config


def test_json_leaves_out_what_came_later_and_has_its_default():
    assert not {"own", "segmentation", "pre_norm"} & PYRAMID.to_dict().keys()
    later = PYRAMID.with_(own="none", segmentation=True)
    assert later.to_dict().items() >= {"own": "none", "segmentation": True}.items()
    assert ModelConfig.from_json(later.to_json()) == later


def test_json_without_words_misses_the_short_fields():
    values = {name: value for name, value in PYRAMID.to_dict().items() if name not in ("stages", "mean")}
    with pytest.raises(ConfigError, match=r"missing in ModelConfig: mean, patch, dim, heads, layers$"):
        ModelConfig.from_json(json.dumps(values))


@pytest.mark.parametrize(("changes", "message"), CONFIG_ERRORS, ids=case_id)
def test_an_illegal_config_says_what_was_expected_and_what_came(changes, message):
    with pytest.raises(ConfigError) as error:
        CONFIG.with_(**changes)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    "changes",
    [
        {"image": (2, 2), "heads": 64, "layers": 1, "mlp_ratio": 1, "theta": 1, "alpha": 0, "mean": (0,)},
        {"image": (512, 512), "alpha": 1.0, "mean": (255,), "mlp_ratio": 1024, "theta": 5},
        {"image": (254, 254), "patch": 254, "dim": 1, "heads": 1},
        {"dim": 7, "heads": 7, "classes": ("yes", "no")},
    ],
    ids=["smallest", "largest", "one patch", "odd"],
)
def test_a_config_at_its_limits_is_legal(changes):
    assert ModelConfig.from_json(CONFIG.with_(**changes).to_json()) == CONFIG.with_(**changes)


def test_equal_numbers_have_equal_texts():
    integers = CONFIG.with_(alpha=1, mean=(78,), widths=Widths(exp_step=1))
    reals = CONFIG.with_(alpha=1.0, mean=(78.0,), widths=Widths(exp_step=1.0))
    assert integers.to_json() == reals.to_json()


def test_a_text_without_pre_norms_does_not_mention_them():
    """It is what was written, hashed and published before there were any."""
    assert "pre_norm" not in CONFIG.to_json()
    assert "pre_norm" not in CONFIG.to_dict()
    with_them = CONFIG.with_(pre_norm=True)
    assert '"pre_norm": true' in with_them.to_json()
    assert ModelConfig.from_json(with_them.to_json()) == with_them


def test_what_is_published_still_has_the_same_text():
    path = Path(config_module.__file__).parent / "zoo" / "digits" / "model.safetensors"
    with safe_open(path, "pt") as file:
        text = json.loads(file.metadata()["config"])
    assert ModelConfig.from_json(text).to_json() == text


def test_pre_norms_are_of_the_float_phase_only():
    CONFIG.check_deployable()
    with pytest.raises(ConfigError, match="pre_norm is of the float phase only: plain with it cannot enter"):
        CONFIG.with_(pre_norm=True).check_deployable()


def _json(**changes):
    return json.dumps(json.loads(CONFIG.to_json()) | changes)


def _json_without(*names):
    return json.dumps({k: v for k, v in json.loads(CONFIG.to_json()).items() if k not in names})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the configuration is not JSON"),
        ("{", "the configuration is not JSON"),
        ("[" * 100_000, "the configuration is not JSON"),
        ('{"dim": ' + "1" * 5000 + "}", "the configuration is not JSON"),
        ("[]", "the configuration must be a JSON object"),
        ("null", "the configuration must be a JSON object"),
        ("{}", "missing in ModelConfig: name, image, channels, mean, patch, dim, heads, layers, classes"),
        (_json_without("image", "heads"), "missing in ModelConfig: image, heads"),
        (_json(size=8, colour=1), "unknown in ModelConfig: colour, size"),
        (_json(widths={"wide": 12, "depth": 3}), "unknown in Widths: depth"),
        (_json(widths=None), "widths must be a JSON object, not None"),
        (_json(widths=[12]), r"widths must be a JSON object, not \[12\]"),
        (_json(widths={"affine_shift": [2]}), r"affine_shift must be a window within 0 to 24, not \(2,\)"),
        (_json(widths={"wide": math.nan}), "wide must be 12 to 16 bits, not nan"),
        (_json(image=8), "image must be a height and a width, not 8"),
        (_json(image={"height": 8}), "image must be a height and a width, not {'height': 8}"),
        (_json(image=[[8], 8]), r"image height must be an integer from 1 to 65536, not \[8\]"),
        (_json(mean=[[78.0]]), r"mean must be 1 values of 0 to 255, not \(\[78.0\],\)"),
        (_json(alpha=math.inf), r"alpha must lie in \[0, 1\], not inf"),
        (_json(hfsc=None), "hfsc must be true or false, not None"),
    ],
    ids=lambda v: v[:40],
)
def test_from_json_refuses_what_to_json_never_wrote(text, message):
    with pytest.raises(ConfigError, match=message):
        ModelConfig.from_json(text)


def test_from_json_fills_in_defaults():
    required = {"name", "image", "channels", "mean", "patch", "dim", "heads", "layers", "classes"}
    optional = {f.name for f in fields(ModelConfig)} - required
    assert ModelConfig.from_json(_json_without(*optional)) == CONFIG


@given(st.sampled_from([f.name for f in fields(ModelConfig)]), json_values)
@example("mean", ["78"])
@example("classes", [[], {}])
def test_from_json_raises_nothing_but_its_own_error(name, value):
    makes_a_config_or_a_config_error(lambda: ModelConfig.from_json(_json(**{name: value})))


@given(st.sampled_from([f.name for f in fields(Widths)]), json_values)
def test_widths_from_json_raise_nothing_but_their_own_error(name, value):
    makes_a_config_or_a_config_error(lambda: ModelConfig.from_json(_json(widths={name: value})))


@pytest.mark.parametrize(
    ("changes", "grid", "head_dim", "patch_length", "bands"),
    [
        ({}, (4, 4), 32, 4, ("lo", "hi")),
        ({"image": (6, 10), "hfsc": False, "heads": 4}, (3, 5), 16, 4, ("x",)),
        ({"image": (9, 3), "patch": 3, "channels": 2, "mean": (1, 2)}, (3, 1), 32, 18, ("lo", "hi")),
    ],
)
def test_what_follows_from_a_config(changes, grid, head_dim, patch_length, bands):
    config = CONFIG.with_(**changes)
    assert config.grid == grid
    assert config.tokens == grid[0] * grid[1]
    assert config.head_dim == head_dim
    assert config.patch_length == patch_length
    assert config.bands == bands


@given(st.integers(1, 1024), st.integers(2, 12), st.floats(0.01, 1))
def test_score_weights_use_their_width(head_dim, score_weight, exp_step):
    """The largest weight fits its bits; twice as much would not."""
    widths = Widths(score_weight=score_weight, exp_step=exp_step)
    unit, limit = exp_step * math.sqrt(head_dim), (1 << score_weight) - 1
    if round(1 / unit) > limit:
        with pytest.raises(ConfigError, match="too fine"):
            CONFIG.with_(dim=head_dim, heads=1, widths=widths)
        return
    config = CONFIG.with_(dim=head_dim, heads=1, widths=widths)
    assert round(config.score_scale) <= limit < 2 * config.score_scale
    assert config.score_scale == 2.0**config.score_shift / unit


@given(st.integers(1, 32), st.integers(1, 4), st.integers(8, 18))
def test_the_embedding_accumulator_just_fits(patch, channels, bits):
    changes = {"image": (patch, patch), "patch": patch, "channels": channels, "mean": (0,) * channels}
    config = CONFIG.with_(**changes, widths=Widths(embedding_acc=bits))
    largest = 2 * patch * patch * channels * 128 * 128
    assert largest >> config.embedding_acc_shift < 1 << (bits - 1)
    assert -largest >> config.embedding_acc_shift >= -(1 << (bits - 1))
    assert config.embedding_acc_shift == 0 or largest >> (config.embedding_acc_shift - 1) >= 1 << (bits - 1)
