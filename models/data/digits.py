"""scikit-learn's handwritten digits: the data set that needs no download."""

import torch
from sklearn.datasets import load_digits

from haarlequin.models.data.split import DataSet, Split, stratified


def digits() -> DataSet:
    """scikit-learn's 1,797 handwritten digits of 8×8, grey values 0 to 16 as min(255, 16·v).

    Stratified and fixed: 360 test images (20 %) first, then 144 of the other 1,437 for validation.
    """
    data = load_digits()
    pixels = torch.from_numpy(data.images * 16).clamp(max=255).to(torch.uint8)[..., None]
    whole = Split(pixels, torch.from_numpy(data.target).long())
    train, test = stratified(whole, 360)
    train, validation = stratified(train, 144)
    return DataSet(train, validation, test, tuple("0123456789"))
