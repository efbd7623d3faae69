"""A USB host for simulated boards, from the wires up to what pyusb asks of an operating system.

port.py       `HostPort`, which sends and receives packets on two wires: gateware of the bench
packets.py    tokens, data and checksums
host.py       `UsbHost`: transactions, control transfers, enumeration
backend.py    `SimulatedBackend`, by which pyusb reaches a simulated host
board.py      an accelerator with a `hw.link.usb.UsbDevice`, plugged into a `HostPort`
"""
