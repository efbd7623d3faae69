"""scikit-learn's handwritten digits: the data set that needs no download."""

import numpy as np
from sklearn.datasets import load_digits

from haarlequin.models.data.split import DataSet, Split, stratified


def digits() -> DataSet:
    """scikit-learn's 1,797 handwritten digits of 8×8, grey values 0 to 16 as min(255, 16·v).

    The split is stratified and always the same: 360 images (20 %) are for test, and 144 of the other 1,437
    for validation.
    """
    data = load_digits()
    pixels = np.minimum(data.images * 16, 255).astype(np.uint8)[..., None]
    whole = Split(pixels, data.target.astype(np.int64))
    train, test = stratified(whole, 360)
    train, validation = stratified(train, 144)
    return DataSet(train, validation, test, tuple("0123456789"))
