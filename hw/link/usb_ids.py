"""The numbers and names by which a USB host knows a board, and where its bytes go."""

VENDOR_ID, PRODUCT_ID = 0x1209, 0x0001
"""The numbers of pid.codes for tests (https://pid.codes/1209/0001/): whoever sells boards gets their own."""

MANUFACTURER, PRODUCT = "Haarlequin", "DIDB-ViT accelerator"

ENDPOINT = 1
"""The number of the bulk endpoint in either direction."""
PACKET = 64
"""Bytes of a packet, at most: no bulk endpoint of full speed may have more (USB 2.0, section 5.8.3)."""
HIGH_SPEED_PACKET = 512
"""The same at high speed, where every bulk endpoint has packets of this size (same section)."""
