"""A USB host for simulated boards, from the wires up to what pyusb asks of an operating system.

transactor.py  `Transactor`, which sends and receives packets on a line: gateware of the bench
port.py        that line as two wires of full speed, `HostPort`; line_code.py, their bits
ulpi.py        that line as the pins of a PHY, `UlpiPort`; bus.py, its levels, resets and chirps
packets.py     tokens, data and checksums
host.py        `UsbHost`: transactions, control transfers, enumeration
backend.py     `SimulatedBackend`, by which pyusb reaches a simulated host
board.py       an accelerator with a `hw.link.usb.UsbDevice`, plugged into a `HostPort`
ulpi_board.py  one with a `hw.link.ulpi.UlpiDevice`, plugged into a `UlpiPort`
"""
