import re

import pytest

from haarlequin.hw.boards import BOARDS, board, top
from haarlequin.hw.boards.board import PLACERS, BoardError
from haarlequin.hw.boards.top import BoardTop, clocks
from haarlequin.hw.config import AcceleratorConfig
from haarlequin.hw.families import FAMILIES
from haarlequin.hw.link.usb import UsbDevice
from haarlequin.hw.presets import CONFIGS
from haarlequin.models.common.errors import UsageError
from haarlequin.models.presets import PRESETS
from tests.small_machines import SMALLEST


@pytest.mark.parametrize("target", BOARDS.values(), ids=BOARDS)
def test_every_board_names_what_is_there(target):
    assert target.family in FAMILIES
    assert target.config in CONFIGS
    assert target.model in PRESETS
    assert target.placer in PLACERS
    assert target.divisor() >= 4


@pytest.mark.slow
@pytest.mark.parametrize("target", BOARDS.values(), ids=BOARDS)
def test_its_accelerator_gets_the_boards_pins(target):
    platform, family = target.platform(), FAMILIES[target.family]
    config = CONFIGS[target.config]
    if isinstance(config, AcceleratorConfig):
        config = SMALLEST  # which has the same pins; a large one takes a minute to elaborate
    plan = platform.prepare(BoardTop(target, config, target.clock_hz, target.baud), "top")
    pins = plan.files[f"top.{family.constraints}"]
    pins = pins.decode() if isinstance(pins, bytes) else pins
    for resource in ("uart_0__rx", "uart_0__tx", *(f"{name}_{number}" for name, number in target.leds)):
        assert resource in pins
    for pin in ("sck", "cs", "copi", "cipo"):
        assert (f"host_spi_0__{pin}" in pins) == (target.spi is not None)


def test_an_unknown_board():
    with pytest.raises(BoardError, match=r"unknown board 'ulx3': there are .*ulx3s-85f"):
        board("ulx3")


def test_a_baud_rate_that_the_clock_does_not_divide_into():
    target = board("ulx3s-85f")
    assert target.divisor(60_000_000, 3_000_000) == 20
    assert target.divisor(61_000_000, 3_000_000) == 20
    with pytest.raises(BoardError, match=r"60 MHz makes 12,000,000 baud of 11,500,000, \+4\.3%"):
        target.divisor(60_000_000, 11_500_000)


@pytest.mark.parametrize("baud", [2_900_000, 5_600_000, 11_000_000, 20_000_000])
def test_the_rate_that_is_proposed_is_taken(baud):
    target = board("ulx3s-85f")
    try:
        target.divisor(60_000_000, baud)
    except BoardError as error:
        proposed = int(str(error).rsplit(" ", 1)[1].replace(",", ""))
        assert target.divisor(60_000_000, proposed) >= 4


def test_boards_that_may_have_a_fifo():
    target = board("ulx3s-25f")
    assert target.fifo is None
    assert target.with_fifo().fifo == ("host_fifo", 0)
    with pytest.raises(BoardError, match=r"^orangecrab-25f has no pins for an FT232H's FIFO$"):
        board("orangecrab-25f").with_fifo()


@pytest.mark.slow
def test_a_fifo_gets_its_pins_its_clock_and_their_registers():
    target = board("ulx3s-85f").with_fifo()
    plan = target.platform().prepare(BoardTop(target, SMALLEST, target.clock_hz, target.baud), "top")
    text = plan.files["top.lpf"]
    pins, netlist = text if isinstance(text, str) else text.decode(), plan.files["top.il"]
    for pin in ("clkout", "rxf_n", "txe_n", "oe_n", "rd_n", "wr_n", "siwu_n", "data__io[0]", "data__io[7]"):
        assert f'LOCATE COMP "host_fifo_0__{pin}' in pins
    assert re.search(r'FREQUENCY PORT "host_fifo_0__clkout__io" 60000000(\.0)? HZ', pins)
    assert pins.count("SLEWRATE=FAST") == 12
    assert (netlist if isinstance(netlist, str) else netlist.decode()).count("OFS1P3BX") == 12


@pytest.mark.slow
def test_a_board_has_the_serial_number_that_it_is_given(monkeypatch):
    asked = []
    monkeypatch.setattr(top, "UsbDevice", lambda serial: asked.append(serial) or UsbDevice(serial))
    plugged = board("ulx3s-85f").with_usb()
    for target in (plugged, plugged.with_serial("left-2")):
        target.platform().prepare(BoardTop(target, SMALLEST, target.clock_hz, target.baud), "top")
    assert asked == ["ulx3s-85f", "left-2"]


@pytest.mark.parametrize("serial", ["", "a:b", "a b", "ä", "x" * 65])
def test_what_is_no_serial_number(serial):
    with pytest.raises(BoardError, match=r"^'.*' is not a serial number: take 1 to 64 letters, "):
        board("ulx3s-85f").with_usb().with_serial(serial)
    with pytest.raises(BoardError, match=r"^a serial number is for a board with a USB device: add --usb$"):
        board("ulx3s-85f").with_serial("left")


def test_boards_that_have_an_address():
    target = board("ecpix5-85f")
    assert target.address.ip == "192.168.2.50"
    assert target.with_address("10.0.0.7").address.mac == "02:00:0a:00:00:07"
    with pytest.raises(BoardError, match=r"^ulx3s-85f has no Ethernet, and so no address$"):
        board("ulx3s-85f").with_address("10.0.0.7")
    with pytest.raises(UsageError, match=r"^'10\.0\.0' is not an IPv4 address such as 192\.168\.2\.50$"):
        target.with_address("10.0.0")


@pytest.mark.slow
def test_a_phy_gets_its_pins_its_clock_and_both_edges_of_its_wires():
    target = board("ecpix5-85f")
    plan = target.platform().prepare(BoardTop(target, SMALLEST, target.clock_hz, target.baud), "top")
    text = plan.files["top.lpf"]
    pins, netlist = text if isinstance(text, str) else text.decode(), plan.files["top.il"]
    netlist = netlist if isinstance(netlist, str) else netlist.decode()
    places = {"rst": "C13", "tx_clk": "A12", "tx_ctrl": "C9", "rx_clk": "E11", "rx_ctrl": "A11"}
    places |= {f"tx_data__io[{bit}]": pin for bit, pin in enumerate(("D8", "C8", "B8", "A8"))}
    places |= {f"rx_data__io[{bit}]": pin for bit, pin in enumerate(("B11", "A10", "B10", "A9"))}
    for name, pin in places.items():
        name = name if "__io" in name else f"{name}__io"
        assert f'LOCATE COMP "host_ethernet_0__{name}" SITE "{pin}"' in pins
    assert re.search(r'FREQUENCY PORT "host_ethernet_0__rx_clk__io" 125000000(\.0)? HZ', pins)
    assert pins.count("SLEWRATE=FAST") == 6
    cells = {name: netlist.count(f"cell \\{name} ") for name in ("IDDRX1F", "ODDRX1F", "DELAYG")}
    assert cells == {"IDDRX1F": 5, "ODDRX1F": 6, "DELAYG": 1}
    assert re.search(r"DEL_VALUE\S* 80\b|DEL_VALUE\S* 32'0*1010000\b", netlist)  # 2 ns


@pytest.mark.slow
def test_a_usb_phy_gets_its_pins_and_its_clock():
    target = board("ecpix5-85f").with_usb()
    plan = target.platform().prepare(BoardTop(target, SMALLEST, target.clock_hz, target.baud), "top")
    text = plan.files["top.lpf"]
    pins = text if isinstance(text, str) else text.decode()
    places = {"clk": "H24", "dir": "F22", "nxt": "F23", "stp": "H23", "rst": "E23"}
    wires = ("M26", "L25", "L26", "K25", "K26", "J23", "P25", "H25")
    places |= {f"data__io[{bit}]": pin for bit, pin in enumerate(wires)}
    for name, pin in places.items():
        name = name if "__io" in name else f"{name}__io"
        assert f'LOCATE COMP "host_ulpi_0__{name}" SITE "{pin}"' in pins
    assert re.search(r'FREQUENCY PORT "host_ulpi_0__clk__io" 60000000(\.0)? HZ', pins)


def test_boards_that_may_be_usb_devices():
    target = board("ulx3s-85f")
    assert target.usb is None
    assert target.with_usb().usb == ("usb", 0)
    some, all_ = {*clocks(target.with_usb(), 3_000_000)}, {*clocks(target, 3_000_000)}
    assert {60_000_000, 45_000_000} <= some < all_
    high = board("ecpix5-85f")
    assert high.with_usb().usb == ("host_ulpi", 0)
    assert high.has_high_speed
    assert not target.has_high_speed
    assert clocks(high.with_usb(), 3_000_000) == clocks(high, 3_000_000)  # its PHY has a clock of its own
    with pytest.raises(BoardError, match=r"^icebreaker has no USB plug that goes to its FPGA$"):
        board("icebreaker").with_usb()
