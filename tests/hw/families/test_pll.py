import itertools
import random
import re
from fractions import Fraction

import pytest
from amaranth.back import rtlil

from haarlequin.hw.families.ecp5 import Ecp5Pll, Ecp5Setting
from haarlequin.hw.families.gowin import GowinPll, GowinSetting
from haarlequin.hw.families.ice40 import Ice40Pll, Ice40Setting
from haarlequin.hw.families.pll import MHZ
from haarlequin.models.common.errors import UsageError

pytestmark = pytest.mark.slow

FAMILIES = [Ecp5Setting, Ice40Setting, GowinSetting]
INPUTS = [12, 25, 27, 48]
MOST = {Ecp5Setting: 400, Ice40Setting: 275, GowinSetting: 625}
LIMITS = {
    # Of the phase detector, oscillator and output, in MHz.
    Ecp5Setting: [("3.125", "400"), ("400", "800"), ("3.125", "400")],
    Ice40Setting: [("10", "133"), ("533", "1066"), ("16", "275")],
    GowinSetting: [("3", "500"), ("500", "1250"), ("3.90625", "625")],
}
ODIVS = (2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 128)


def frequencies(setting):
    """Phase detector, oscillator and its division by the vendors' formulas; all dividers must exist."""
    match setting:
        case Ecp5Setting(hz, reference, feedback, divider):
            assert reference in range(1, 129)
            assert feedback in range(1, 81)
            assert divider in range(1, 129)
            return Fraction(hz, reference), Fraction(hz * feedback * divider, reference), divider
        case Ice40Setting(hz, divr, divf, divq):
            assert divr in range(16)
            assert divf in range(128)
            assert divq in range(1, 7)
            return Fraction(hz, divr + 1), Fraction(hz * (divf + 1), divr + 1), 2**divq
        case GowinSetting(hz, idiv, fbdiv, odiv):
            assert idiv in range(64)
            assert fbdiv in range(64)
            assert odiv in ODIVS
            return Fraction(hz, idiv + 1), Fraction(hz * (fbdiv + 1) * odiv, idiv + 1), odiv


def everything(family, hz):
    """(output, oscillator, phase detector) of all dividers that are within the ranges."""
    pfds, vcos, outputs = ([Fraction(end) * MHZ for end in limits] for limits in LIMITS[family])
    references, feedbacks, dividers = {
        Ecp5Setting: (range(1, 129), range(1, 81), range(1, 129)),
        Ice40Setting: (range(1, 17), range(1, 129), [2**q for q in range(1, 7)]),
        GowinSetting: (range(1, 65), range(1, 65), ODIVS),
    }[family]
    found = set()
    for reference in references:
        pfd = Fraction(hz, reference)
        if pfds[0] <= pfd <= pfds[1]:
            for feedback, divider in itertools.product(feedbacks, dividers):
                # Only an iCE40's oscillator is what is fed back.
                vco = pfd * feedback * (1 if family is Ice40Setting else divider)
                if vcos[0] <= vco <= vcos[1] and outputs[0] <= vco / divider <= outputs[1]:
                    found.add((vco / divider, vco, pfd))
    return found


@pytest.mark.parametrize("megahertz", INPUTS)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_best_of_all_dividers_for_any_wish(family, megahertz):
    """Against a search through all of them: the closest below, then the fastest oscillator and detector."""
    generator, hz = random.Random(megahertz), megahertz * MHZ
    every = everything(family, hz)
    wishes = [generator.randrange(3 * MHZ, (MOST[family] + 20) * MHZ) for _ in range(15)]
    wishes += [generator.randrange(3, MOST[family] + 20) * MHZ for _ in range(15)] + [hz]
    solved = 0
    for wish in wishes:
        below = max((point for point in every if point[0] <= wish), default=None)
        if below is None or below[0] < wish * Fraction(98, 100):
            with pytest.raises(UsageError, match="nothing within 2 % below"):
                family.solve(hz, wish)
            continue
        setting = family.solve(hz, wish)
        pfd, vco, divider = frequencies(setting)
        assert (setting.hertz, setting.vco, setting.pfd) == (vco / divider, vco, pfd) == below
        solved += 1
    assert solved > 15


def test_a_fast_input_is_divided_by_no_more_than_the_divider_can():
    """The phase detector of a Gowin would accept it divided by more."""
    settings = GowinSetting.possible(400 * MHZ)
    assert max(setting.idiv for setting in settings) == 63


@pytest.mark.parametrize(
    ("megahertz", "wish", "reference", "feedback"),
    [(25, 60, 5, 12), (25, 50, 1, 2), (12, 24, 1, 2), (48, 100, 12, 25), (27, 54, 1, 2), (8, 8, 1, 1)],
)
def test_what_ecppll_says(megahertz, wish, reference, feedback):
    """But for the output divider: ecppll wants the oscillator near 600 MHz."""
    setting = Ecp5Setting.solve(megahertz * MHZ, wish * MHZ)
    assert (setting.reference, setting.feedback, setting.hertz) == (reference, feedback, wish * MHZ)
    assert setting.vco + setting.hertz > 800 * MHZ


@pytest.mark.parametrize(
    ("megahertz", "wish", "divr", "divf", "divq", "filter_range", "achieved"),
    [
        (12, 24, 0, 63, 5, 1, 24),
        (48, 30, 0, 19, 5, 4, 30),
        (48, 48, 0, 15, 4, 4, 48),
        (27, 100, 1, 58, 3, 1, "99.5625"),
        (25, 37, 1, 46, 4, 1, "36.71875"),
        (133, 100, 0, 5, 3, 6, "99.75"),
        (100, 100, 0, 7, 3, 5, 100),
    ],
)
def test_what_icepll_says(megahertz, wish, divr, divf, divq, filter_range, achieved):
    setting = Ice40Setting.solve(megahertz * MHZ, wish * MHZ)
    assert setting == Ice40Setting(megahertz * MHZ, divr, divf, divq)
    assert (setting.filter_range, setting.hertz) == (filter_range, Fraction(achieved) * MHZ)


def test_icepll_would_rather_be_too_fast():
    """It says 50.25 MHz for 50, for which timing was not met."""
    assert Ice40Setting.solve(12 * MHZ, 50 * MHZ).hertz == Fraction("49.5") * MHZ


@pytest.mark.parametrize(
    ("megahertz", "filter_range"),
    [(10, 1), (16.9, 1), (17, 2), (25.9, 2), (26, 3), (43.9, 3), (44, 4), (65.9, 4), (66, 5), (101, 6)],
)
def test_the_loop_filter_follows_the_phase_detector(megahertz, filter_range):
    """Limits are icepll's."""
    assert Ice40Setting(int(megahertz * MHZ), 0, 0, 1).filter_range == filter_range
    assert Ice40Setting(int(3 * megahertz * MHZ), 2, 0, 1).filter_range == filter_range


@pytest.mark.parametrize("family", FAMILIES)
def test_a_wish_for_what_the_error_offers_is_met(family):
    generator, offered = random.Random(5), 0
    for _ in range(40):
        wish = generator.randrange(1, 900) * MHZ
        try:
            family.solve(27 * MHZ, wish)
        except UsageError as error:
            message = str(error)
            assert message.startswith(f"{family.FAMILY} PLL, 27 MHz to {wish // MHZ} MHz: ")
            assert "\n" not in message
            nearest = [Fraction(n) * MHZ for n in re.findall(r"(\S+) MHz", message.split("nearest: ")[1])]
            for hertz in nearest:
                assert family.solve(27 * MHZ, int(hertz)).hertz <= hertz
                offered += 1
            assert len(nearest) == 2 or not 30 * MHZ < wish < MOST[family] * MHZ
            assert all(hertz > wish or hertz < wish * Fraction(98, 100) for hertz in nearest)
    assert offered


def test_the_error_says_both_sides():
    with pytest.raises(UsageError) as caught:
        Ecp5Setting.solve(25 * MHZ, 37 * MHZ)
    assert str(caught.value) == (
        "ECP5 PLL, 25 MHz to 37 MHz: nothing within 2 % below; nearest: 35.714286 MHz or 37.5 MHz"
    )


@pytest.mark.parametrize(
    ("family", "megahertz", "span"),
    [
        (Ecp5Setting, 7, "8 MHz to 400 MHz"),
        (Ecp5Setting, 401, "8 MHz to 400 MHz"),
        (Ice40Setting, 9, "10 MHz to 133 MHz"),
        (GowinSetting, 501, "3 MHz to 500 MHz"),
    ],
)
def test_an_input_out_of_range(family, megahertz, span):
    with pytest.raises(UsageError, match=f"{megahertz} MHz to 50 MHz: its input must be {span}$"):
        family.solve(megahertz * MHZ, 50 * MHZ)


@pytest.mark.parametrize("wrong", [0, -1, 12e6, None])
def test_what_is_no_frequency(wrong):
    with pytest.raises(ValueError, match=re.escape(f"input_hz must be a positive integer, not {wrong!r}")):
        Ecp5Setting.solve(wrong, MHZ)
    with pytest.raises(ValueError, match=re.escape(f"wished_hz must be a positive integer, not {wrong!r}")):
        Ecp5Setting.solve(12 * MHZ, wrong)


def cell(component):
    """Type of the only primitive in a component, its parameters, its connections and its constants."""
    text = rtlil.convert(component)
    kinds = re.findall(r"cell \\(\S+) \\pll", text)
    assert len(kinds) == text.count("cell ") == 1
    parameters = dict(re.findall(r"parameter \\(\S+) (.*)", text))
    ports, constants = (
        dict(re.findall(rf"connect \\(\S+) {value}", text)) for value in (r"\\(\S+)", r"(\d'\d+)")
    )
    return kinds[0], parameters, ports, constants


def test_the_ecp5s_primitive():
    kind, parameters, ports, constants = cell(Ecp5Pll(Ecp5Setting.solve(25 * MHZ, 60 * MHZ)))
    assert kind == "EHXPLLL"
    assert parameters == {
        "CLKI_DIV": "5",
        "CLKFB_DIV": "12",
        "FEEDBK_PATH": '"CLKOP"',
        "CLKOP_ENABLE": '"ENABLED"',
        "CLKOP_DIV": "13",
        "CLKOP_CPHASE": "12",
        "CLKOP_FPHASE": "0",
    }
    assert ports == {"CLKI": "clock", "CLKFB": "output", "CLKOP": "output", "LOCK": "locked"}
    ones = {"PHASEDIR", "PHASESTEP", "PHASELOADREG"}
    zeros = {"RST", "STDBY", "PHASESEL0", "PHASESEL1", "PLLWAKESYNC", "ENCLKOP"}
    assert constants == dict.fromkeys(ones, "1'1") | dict.fromkeys(zeros, "1'0")


@pytest.mark.parametrize("megahertz", [25, 48])
def test_further_outputs_of_an_ecp5(megahertz):
    also = 48 * MHZ, 12 * MHZ
    setting = Ecp5Setting.solve(megahertz * MHZ, 60 * MHZ, also)
    assert setting.hertz == 60 * MHZ
    assert setting.vco in setting.VCO
    _, parameters, _, constants = cell(Ecp5Pll(setting))
    for name, hertz in zip(("CLKOS", "CLKOS2"), also, strict=True):
        divider = int(parameters[f"{name}_DIV"])
        assert setting.vco / divider == hertz
        assert (parameters[f"{name}_ENABLE"], parameters[f"{name}_CPHASE"]) == ('"ENABLED"', str(divider - 1))
        assert constants[f"EN{name}"] == "1'0"
    assert "CLKOS3_ENABLE" not in parameters
    assert setting.ratio == 4  # 240 MHz have the edges of 60, 48 and 12


@pytest.mark.parametrize(
    ("hertz", "also", "ratio"), [(60, (), 1), (48, (12,), 2), (24, (48, 12), 4), (60, (48, 12), 4)]
)
def test_the_clock_that_has_the_edges_of_all_outputs(hertz, also, ratio):
    setting = Ecp5Setting.solve(48 * MHZ, hertz * MHZ, tuple(each * MHZ for each in also))
    assert setting.hertz == hertz * MHZ
    assert setting.ratio == ratio


def test_an_ecp5_has_three_further_outputs():
    also = 48 * MHZ, 24 * MHZ, 12 * MHZ
    _, parameters, *_ = cell(Ecp5Pll(Ecp5Setting.solve(48 * MHZ, 48 * MHZ, also)))
    assert [name for name in parameters if name.endswith("_ENABLE")] == [
        f"{name}_ENABLE" for name in ("CLKOP", "CLKOS", "CLKOS2", "CLKOS3")
    ]
    with pytest.raises(UsageError, match="nothing within 2 % below"):
        Ecp5Setting.solve(48 * MHZ, 48 * MHZ, (*also, 6 * MHZ))


def test_outputs_that_cannot_be():
    assert {setting.hertz for setting in Ecp5Setting.possible(25 * MHZ, (48 * MHZ,))} >= {60 * MHZ, 80 * MHZ}
    with pytest.raises(UsageError) as error:
        Ecp5Setting.solve(25 * MHZ, 50 * MHZ, (48 * MHZ, 12 * MHZ))
    task, _, ways = str(error.value).partition(": ")
    assert task == "ECP5 PLL, 25 MHz to 50 MHz and 48 MHz and 12 MHz"
    assert ways == "nothing within 2 % below; nearest: 45 MHz or 60 MHz"
    with pytest.raises(UsageError, match="nothing within 2 % below"):
        Ice40Setting.solve(12 * MHZ, 18 * MHZ, (48 * MHZ,))


@pytest.mark.parametrize(
    ("pad", "primitive", "pin"),
    [(True, "SB_PLL40_PAD", "PACKAGEPIN"), (False, "SB_PLL40_CORE", "REFERENCECLK")],
)
def test_the_ice40s_primitives(pad, primitive, pin):
    kind, parameters, ports, constants = cell(Ice40Pll(Ice40Setting.solve(48 * MHZ, 30 * MHZ), pad))
    assert kind == primitive
    assert parameters == {
        "FEEDBACK_PATH": '"SIMPLE"',
        "PLLOUT_SELECT": '"GENCLK"',
        "DIVR": "4'0000",
        "DIVF": "7'0010011",
        "DIVQ": "3'101",
        "FILTER_RANGE": "3'100",
    }
    assert ports == {pin: "clock", "PLLOUTGLOBAL": "output", "LOCK": "locked"}
    assert constants == {"RESETB": "1'1", "BYPASS": "1'0"}


@pytest.mark.parametrize(
    ("hz", "wish", "fclkin", "idiv", "fbdiv", "odiv"),
    [(27 * MHZ, 60 * MHZ, "27", 8, 19, 16), (3_686_400, 29_491_200, "3.6864", 0, 7, 32)],
)
def test_the_gowins_primitive(hz, wish, fclkin, idiv, fbdiv, odiv):
    kind, parameters, ports, constants = cell(GowinPll(GowinSetting.solve(hz, wish)))
    assert kind == "rPLL"
    assert parameters == {
        "DEVICE": '"GW2AR-18C"',
        "FCLKIN": f'"{fclkin}"',
        "IDIV_SEL": str(idiv),
        "FBDIV_SEL": str(fbdiv),
        "ODIV_SEL": str(odiv),
        "CLKFB_SEL": '"internal"',
    }
    assert ports == {"CLKIN": "clock", "CLKOUT": "output", "LOCK": "locked"}
    bits = {"CLKFB": 1, "RESET": 1, "RESET_P": 1, "IDSEL": 6, "FBDSEL": 6, "ODSEL": 6}
    bits |= {"PSDA": 4, "DUTYDA": 4, "FDLY": 4}
    assert constants == {name: f"{count}'{'0' * count}" for name, count in bits.items()}
