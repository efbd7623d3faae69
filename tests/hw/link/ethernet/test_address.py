import pytest

from haarlequin.hw.link.ethernet.address import DEFAULT, PORT, Address
from haarlequin.models.common.errors import UsageError


def test_the_mac_address_is_a_local_one_and_has_the_other_in_it():
    address = Address("10.1.2.3")
    assert address.ip_bytes == bytes([10, 1, 2, 3])
    assert address.mac == "02:00:0a:01:02:03"
    assert address.mac_bytes[0] & 3 == 2  # of one computer, and administered locally
    assert Address().ip == DEFAULT
    assert Address("10.1.2.4").mac != address.mac


def test_the_port_is_one_that_users_may_have():
    assert 1024 <= PORT < 49152


@pytest.mark.parametrize("text", ["", "board", "192.168.2", "192.168.2.256", "::1", "192.168.2.50/24"])
def test_what_is_no_address(text):
    with pytest.raises(UsageError, match=f"^'{text}' is not an IPv4 address such as 192.168.2.50$"):
        Address(text)


@pytest.mark.parametrize("text", ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255"])
def test_addresses_that_no_board_can_have(text):
    with pytest.raises(UsageError, match=f"^{text} is no address for a board: take one such as "):
        Address(text)
