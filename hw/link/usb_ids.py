"""What a USB host knows of a board before it speaks to it: numbers and names, and where its bytes go."""

VENDOR_ID, PRODUCT_ID = 0x1209, 0x0001
"""Of pid.codes (https://pid.codes/1209/0001/), for tests: whoever sells boards gets a number of their own."""

MANUFACTURER, PRODUCT = "Haarlequin", "DIDB-ViT accelerator"

ENDPOINT = 1
"""The number of the bulk endpoint in either direction."""
PACKET = 64
"""Bytes of a packet, at most: no bulk endpoint of full speed may have more (USB 2.0, section 5.8.3)."""
