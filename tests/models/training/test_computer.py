import pytest
import torch

from haarlequin.models.network.didb_vit import DIDBViT
from haarlequin.models.presets import preset
from haarlequin.models.training.computer import DeviceDiffers, check_exact

SMALL = preset("digits").with_(dim=16, layers=2, mlp_ratio=2)


class Elsewhere(DIDBViT):
    """A network whose copy for the CPU has other logits, as if its device had computed others."""

    def __deepcopy__(self, memo):
        copy = DIDBViT(self.config)
        copy.deploy()
        return copy


def test_other_integers_than_the_cpus_are_an_error():
    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (3, 8, 8, 1), dtype=torch.uint8)
    model = Elsewhere(SMALL).eval()
    model.deploy()
    with pytest.raises(DeviceDiffers, match="cpu has other logits in deploy mode than the CPU on 3 images"):
        check_exact(model, pixels)
    same = DIDBViT(SMALL).eval()
    same.deploy()
    check_exact(same, pixels)
