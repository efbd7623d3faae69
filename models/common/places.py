"""Where things are kept: what is built, and what tools keep for the next time."""

import os
from pathlib import Path

import platformdirs

from haarlequin.models.common.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]
"""The checkout, or the folder that the packages are installed in."""

VARIABLE = "HAARLEQUIN_BUILD"
"""The environment variable that chooses the build folder."""

_CACHES = {"YOWASP_CACHE_DIR": "yowasp", "MPLCONFIGDIR": "matplotlib"}
"""By the variable that a tool reads, the folder that it gets: without it, it would take the home folder."""


def build_folder(*parts: str) -> Path:
    """A folder of what is built: below ``$HAARLEQUIN_BUILD``, in a checkout else below its ``build/``, of an
    installed package else where the platform keeps caches. Relative where it lies in the working directory.
    """
    if chosen := os.environ.get(VARIABLE):
        folder = Path(chosen).absolute()
    elif (ROOT / "pyproject.toml").exists():
        folder = ROOT / "build"
    else:
        folder = platformdirs.user_cache_path("haarlequin", appauthor=False)
    return shown(folder.joinpath(*parts))


def shown(path: Path) -> Path:
    """The same path as a person would type it here."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def writable(folder: Path) -> Path:
    """That folder, made where it is missing; raises `UsageError`, which names `VARIABLE`, where it cannot."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(13, os.strerror(13))
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be written ({error.strerror}): set {VARIABLE} to a folder that can"
        ) from None
    return folder


def tool_variables() -> dict[str, str]:
    """What is to be added to the environment of tools, so that they keep their caches in the build folder. A
    variable that is set already stays.
    """
    ours = {variable: str(build_folder("cache", name).absolute()) for variable, name in _CACHES.items()}
    return {variable: value for variable, value in ours.items() if variable not in os.environ}
