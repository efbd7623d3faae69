"""A picture as the pixels that a model takes, alike for those it learns from and those it is asked about."""

import numpy as np
from PIL import Image

# Averages over all that a pixel covers, with no negative weights: no ringing, what is flat stays flat.
# LANCZOS rings; BOX weighs unevenly where the ratio is no integer.
_FILTER = Image.Resampling.HAMMING


def centre(size: tuple[int, int], wanted: tuple[int, int]) -> tuple[int, int]:
    """The largest part of a picture of that size that has the proportions of ``wanted``."""
    width, height = (min(size[i], max(1, round(size[1 - i] * wanted[i] / wanted[1 - i]))) for i in (0, 1))
    return width, height


def fitted(image: Image.Image, height: int, width: int, channels: int) -> np.ndarray:
    """uint8 (``height``, ``width``, ``channels``): cropped around its centre to these proportions, then
    scaled; grey for 1 channel and RGB for 3.
    """
    image = image.convert("RGB")  # nothing is scaled as a palette or 1-bit; grey comes back as it was
    part = centre(image.size, (width, height))
    left, top = ((whole - kept) // 2 for whole, kept in zip(image.size, part, strict=True))
    image = image.crop((left, top, left + part[0], top + part[1]))
    if image.size != (width, height):
        image = image.resize((width, height), _FILTER)
    return np.array(image.convert("L" if channels == 1 else "RGB")).reshape(height, width, channels)
