import pytest
from hypothesis import given
from hypothesis import strategies as st

from haarlequin.models.common.errors import ConfigError
from haarlequin.models.stages import (
    ATTENTION,
    CONVOLUTION,
    GRAMMAR,
    LARGEST,
    MLP,
    Stage,
    Stem,
    default_heads,
    describe,
    parse,
)

PATCHES = Stage(ATTENTION, 64, 2, heads=2, feed_forward=MLP, merge=False)


@st.composite
def stages(draw, first=False):
    """A stage with everything that a word can say of it."""
    common = {
        "layers": draw(st.integers(1, 12)),
        "merge": not first and draw(st.booleans()),
        "token_offsets": draw(st.booleans()),
    }
    if draw(st.booleans()):
        return Stage(CONVOLUTION, draw(st.integers(1, 300)), **common)
    heads, shifted = draw(st.integers(1, 9)), draw(st.booleans())
    return Stage(
        ATTENTION,
        heads * draw(st.integers(1, 100)),
        heads=heads,
        feed_forward=draw(st.sampled_from((MLP, CONVOLUTION))),
        window=2 * draw(st.integers(1, 9)) if shifted else draw(st.integers(0, 9)),
        shifted=shifted,
        **common,
    )


stems = st.one_of(st.builds(Stem, st.integers(1, 300)), st.builds(Stem, stride=st.sampled_from((1, 2))))


@given(stems, stages(first=True), st.lists(stages(), max_size=4))
def test_parse_is_the_inverse_of_describe(stem, first, others):
    text = describe(stem, (first, *others))
    assert parse(text) == (stem, (first, *others))
    assert describe(*parse(text)) == text


@pytest.mark.parametrize(
    ("text", "stem", "expected"),
    [
        ("p4 t64x2", Stem(4), [PATCHES]),
        ("/1 c8x1", Stem(stride=1), [Stage(CONVOLUTION, 8, 1, merge=False)]),
        (
            "/2 c32x4 a128x5",
            Stem(stride=2),
            [Stage(CONVOLUTION, 32, 4, merge=False), Stage(ATTENTION, 128, 5, heads=2)],
        ),
        (
            "p2 t96x2h1w4n =a96x1s2",
            Stem(2),
            [
                Stage(ATTENTION, 96, 2, 1, MLP, merge=False, window=4, token_offsets=False),
                Stage(ATTENTION, 96, 1, 3, merge=False, window=2, shifted=True),
            ],
        ),
        ("/1 c8x1 =c8x1n", Stem(), [Stage(CONVOLUTION, 8, 1, merge=False)] * 2),
        # Whatever is between the words; the first stage keeps the grid of the stem anyway.
        ("  /1\n =c8x1\t", Stem(), [Stage(CONVOLUTION, 8, 1, merge=False)]),
        ("p4 t64x2w0", Stem(4), [PATCHES]),
    ],
)
def test_words(text, stem, expected):
    if text.endswith("n"):
        expected = [*expected[:-1], Stage(CONVOLUTION, 8, 1, merge=False, token_offsets=False)]
    assert parse(text) == (stem, tuple(expected))


def test_words_leave_out_what_goes_without_saying():
    assert describe(Stem(4), (PATCHES,)) == "p4 t64x2"
    assert describe(*parse("/2 =c8x1 a64x1h2w0 =t64x1h4s2n")) == "/2 c8x1 a64x1 =t64x1h4s2n"


def test_of_the_first_stage_nothing_says_whether_it_merges():
    assert describe(Stem(), (Stage(CONVOLUTION, 8, 1, merge=True),)) == "/1 c8x1"


@pytest.mark.parametrize(
    ("dim", "heads"),
    [(1, 1), (31, 1), (32, 1), (63, 1), (64, 2), (96, 3), (127, 3), (128, 2), (192, 3), (256, 4)],
)
def test_default_heads(dim, heads):
    assert default_heads(dim) == heads


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "p4", "/1", "t64x2", "t64x2 p4", "p4 /2 t64x2", "p t64x2", "/ c8x1", "/12 c8x1"),
        *("p4 64x2", "p4 t64", "p4 tx2", "p4 t64x", "p4 x64x2", "p4 T64x2", "p4 t-64x2", "p4 t6.5x2"),
        *("p4 ==t64x2", "p4 t64x2=", "p4,t64x2", "p4 t64x2 ,", "p4 t64x2nn", "p4 t64x2nh2", "p4 t64x2h"),
        *("p4 t64x2h2h4", "p4 t64x2w4w8", "p4 t64x2w4s4", "p4 t64x2s4w4", "p4 t64x2w4h2", "p0 t64x2"),
        *("p1234567890 t64x2", "p4 t1234567890x2", "p4 t64x2h1234567890", None, 5, True, ("p4", "t64x2")),
    ],
    ids=repr,
)
def test_other_words_are_answered_with_the_grammar(text):
    with pytest.raises(ConfigError) as error:
        parse(text)
    assert str(error.value) == f"a network is {GRAMMAR}; not {text!r}"


def test_a_long_text_is_cut_in_the_message():
    with pytest.raises(ConfigError) as error:
        parse("x" * 10_000)
    assert str(error.value).endswith("; not '" + "x" * 119)


@given(st.text("pact=/xhwsn0123 ", max_size=20))
def test_parse_raises_nothing_but_its_own_error(text):
    try:
        stem, found = parse(text)
    except ConfigError:
        return
    assert parse(describe(stem, found)) == (stem, found)


ATTENTION_STAGE = {"kind": ATTENTION, "dim": 12, "layers": 1}
CONVOLUTION_STAGE = {"kind": CONVOLUTION, "dim": 12, "layers": 1}
NONE_OF_BOTH = "a stage of convolutions has neither heads nor windows nor an MLP"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        *(
            (ATTENTION_STAGE | {name: value}, f"{name} must be an integer from 1 to {LARGEST}, not {value!r}")
            for name in ("dim", "layers", "heads")
            for value in (0, -1, LARGEST + 1, 4.0, True, "4", None)
        ),
        *(
            (ATTENTION_STAGE | {"kind": kind}, f"kind must be attention or convolution, not {kind!r}")
            for kind in ("mlp", "", None)
        ),
        *(
            (
                ATTENTION_STAGE | {"feed_forward": part},
                f"feed_forward must be mlp or convolution, not {part!r}",
            )
            for part in ("attention", None)
        ),
        *(
            (ATTENTION_STAGE | {name: value}, f"{name} must be true or false, not {value!r}")
            for name in ("merge", "shifted", "token_offsets")
            for value in (0, 1, None, "true")
        ),
        *(
            (
                ATTENTION_STAGE | {"window": value},
                f"window must be an integer from 0 to {LARGEST}, not {value!r}",
            )
            for value in (-1, LARGEST + 1, 4.0, False, "4", None)
        ),
        (ATTENTION_STAGE | {"heads": 5}, "dim must be a multiple of heads: 12 is no multiple of 5"),
        (ATTENTION_STAGE | {"heads": 24}, "dim must be a multiple of heads: 12 is no multiple of 24"),
        *(
            (
                ATTENTION_STAGE | {"window": size, "shifted": True},
                f"only windows of an even size can be shifted, not {size}",
            )
            for size in (0, 1, 3)
        ),
        (CONVOLUTION_STAGE | {"heads": 2}, NONE_OF_BOTH),
        (CONVOLUTION_STAGE | {"window": 2}, NONE_OF_BOTH),
        (CONVOLUTION_STAGE | {"feed_forward": MLP}, NONE_OF_BOTH),
    ],
    ids=str,
)
def test_an_illegal_stage_says_what_was_expected_and_what_came(fields, message):
    with pytest.raises(ConfigError) as error:
        Stage(**fields)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("/3 c8x1", "stride must be 1 or 2, of a convolution, not 3"),
        ("/0 c8x1", "stride must be 1 or 2, of a convolution, not 0"),
        ("p65537 t64x2", f"patch must be an integer from 1 to {LARGEST}, not 65537"),
        ("p4 t0x2", f"dim must be an integer from 1 to {LARGEST}, not 0"),
        ("p4 t64x0", f"layers must be an integer from 1 to {LARGEST}, not 0"),
        ("p4 t64x2h0", f"heads must be an integer from 1 to {LARGEST}, not 0"),
        ("p4 t64x2h3", "dim must be a multiple of heads: 64 is no multiple of 3"),
        ("p4 a97x2", "dim must be a multiple of heads: 97 is no multiple of 3"),
        ("p4 t64x2s3", "only windows of an even size can be shifted, not 3"),
        ("p4 t64x2s0", "only windows of an even size can be shifted, not 0"),
        ("/1 c8x1h2", NONE_OF_BOTH),
        ("/1 c8x1w2", NONE_OF_BOTH),
    ],
)
def test_words_of_an_illegal_network(text, message):
    with pytest.raises(ConfigError) as error:
        parse(text)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        *(
            ({"patch": value}, f"patch must be an integer from 1 to {LARGEST}, not {value!r}")
            for value in (-2, 4.0, "4", None, LARGEST + 1)
        ),
        *(
            ({"stride": value}, f"stride must be 1 or 2, of a convolution, not {value!r}")
            for value in (0, 3, True, 1.0, "1", None)
        ),
        ({"patch": 4, "stride": 2}, "stride must be 1 or 2, of a convolution, not 2"),
    ],
    ids=str,
)
def test_an_illegal_stem_says_what_was_expected_and_what_came(fields, message):
    with pytest.raises(ConfigError) as error:
        Stem(**fields)
    assert str(error.value) == message


def test_what_a_token_sees_of_the_image():
    stems = Stem(4), Stem(stride=1), Stem(stride=2)
    assert [(stem.kernel, stem.step, stem.padding) for stem in stems] == [(4, 4, 0), (3, 1, 1), (3, 2, 1)]
