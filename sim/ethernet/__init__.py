"""A simulated network: frames made by hand, a PHY's end of the line, and a socket at its other end.

packets.py   Ethernet, ARP, IPv4, ICMP and UDP, made and read with `struct` alone
port.py      the PHY at a simulated board's pins: frames in, frames out
board.py     a board with Ethernet and that PHY
host.py      a computer on the network, and its socket
tap.py       the operating system's own network, by a TAP device
"""
