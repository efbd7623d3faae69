import pytest

from tests.said import said

CUDA = (
    "/opt/venv/lib/python3.11/site-packages/torch/cuda/__init__.py:180: UserWarning: CUDA initialization: "
    "The NVIDIA driver on your system is too old (found version 11040).\n"
    "  return torch._C._cuda_getDeviceCount() > 0\n"
)


@pytest.mark.parametrize(
    ("stderr", "ours"),
    [
        (CUDA, ""),
        (f"{CUDA}interrupted\n", "interrupted\n"),
        (f"{CUDA}{CUDA.splitlines()[0]}\nerror: no such file\n", "error: no such file\n"),
        ("/home/me/haarlequin/sw/infer.py:3: DeprecationWarning: old\n", None),
        ("Traceback (most recent call last):\n", None),
        ("error: a UserWarning: of site-packages\n", None),
    ],
)
def test_warnings_of_packages_are_left_out(stderr, ours):
    assert said(stderr) == (stderr if ours is None else ours)
