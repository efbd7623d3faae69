import pytest
import torch

from haarlequin.models.common.errors import ConfigError
from haarlequin.models.network import checkpoint
from haarlequin.models.network.teacher import TEACHERS, Teacher, TeacherConfig
from haarlequin.models.presets import override
from haarlequin.models.training.recipe import RECIPES

TINY = TeacherConfig("tiny", (8, 8), 1, (78.0,), tuple("0123456789"), blocks=1, width=1)


@pytest.mark.parametrize("name", list(TEACHERS))
def test_every_teacher_has_a_recipe_and_the_size_it_says(name):
    assert RECIPES[name].deploy_epochs == 0
    weights = sum(p.numel() for p in Teacher(TEACHERS[name]).parameters())
    assert weights == {"teacher-cifar10": 5_849_050, "teacher-cifar10-small": 303_706}[name]


def test_it_comes_back_from_a_checkpoint(tmp_path):
    model = Teacher(TINY).eval()
    checkpoint.save(tmp_path / "teacher.safetensors", model)
    again = checkpoint.load_teacher(tmp_path / "teacher.safetensors")
    assert again.config == TINY
    pixels = torch.randint(0, 256, (3, 8, 8, 1), dtype=torch.uint8)
    assert torch.equal(again(pixels), model(pixels))


def test_the_mean_pixel_is_black_to_it():
    model = Teacher(TINY).eval()
    grey = torch.full((1, 8, 8, 1), 78, dtype=torch.uint8)
    assert torch.equal(model.stem((grey.permute(0, 3, 1, 2) - model.mean) / 64), torch.zeros(1, 16, 8, 8))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["width=0"], "width must be an integer from 1 to 64, not 0"),
        (["blocks=1.5"], "blocks must be an integer from 1 to 64, not 1.5"),
        (["image=[2,2]"], "image must be a height and a width of at least 4"),
        (["image=[8,65537]"], "image must be a height and a width of at least 4, and at most 65536, not"),
        (["image=[8.5,8]"], "image must be a height"),
        (["classes=7"], "classes must be the names of two or more"),
        (["mean=[1,2,3]"], "mean must be 1 values"),
        (["widths.wide=16"], "only the configuration of a DIDB-ViT has widths"),
        (["dim=64"], "unknown in TeacherConfig: dim"),
    ],
)
def test_an_illegal_teacher(settings, message):
    with pytest.raises(ConfigError, match=message):
        override(TINY, settings)


def test_a_text_that_is_no_configuration():
    assert TeacherConfig.from_json(TINY.to_json()) == TINY
    for text in ("{", "[1]", "{}", '{"name": "x", "depth": 3}', "[" * 100_000):
        with pytest.raises(ConfigError, match="no configuration of a teacher"):
            TeacherConfig.from_json(text)
