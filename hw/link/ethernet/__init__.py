"""Ethernet at a gigabit: UDP, ARP and ping, from the bytes of a PHY to those of an accelerator.

address.py         who the board is; datagrams.py: how the link's bytes lie in datagrams
rgmii.py           two edges of four wires ↔ a byte each cycle
mac_receive.py     preamble and frame check sequence; mac_send.py: the same, made
matcher.py         bytes of a header that must be there; checksum.py: the sum over an IPv4 header
packet_receive.py  frames → ARP requests, echo requests, datagrams; packet_send.py: answers → frames
echo.py            what a ping brought, until it is sent back
inbox.py           datagrams → the link's bytes, each once and in order; outbox.py: the other way
line.py            all of them, and the two clocks
"""
