"""What a command of ours said, on a machine whose installed packages say something too."""

import re

_WARNING = re.compile(r"^.*/(?:site|dist)-packages/.*:\d+: \w*Warning: .*\n(?:  .*\n)?", re.MULTILINE)


def said(stderr: str) -> str:
    """What came on stderr without the warnings of installed packages, such as PyTorch's that it cannot use
    the computer's GPU. Warnings of our own files stay.
    """
    return _WARNING.sub("", stderr)
