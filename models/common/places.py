"""Where files are kept: those that are built, and the caches of tools."""

import os
from pathlib import Path

import platformdirs

from haarlequin.models.common.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]
"""The checkout, or the folder that the packages are installed in."""

VARIABLE = "HAARLEQUIN_BUILD"
"""The environment variable that chooses the build folder."""

_CACHES = {"YOWASP_CACHE_DIR": "yowasp", "MPLCONFIGDIR": "matplotlib"}
"""By the variable that a tool reads, the name of its cache; without it, a tool would use the home folder."""


def build_folder(*parts: str) -> Path:
    """A folder below the build folder. The build folder is ``$HAARLEQUIN_BUILD``; where that is not set, it
    is ``build/`` of a checkout, or the platform's cache folder for an installed package. The path is relative
    where it lies in the working directory.
    """
    if chosen := os.environ.get(VARIABLE):
        folder = Path(chosen).absolute()
    elif (ROOT / "pyproject.toml").exists():
        folder = ROOT / "build"
    else:
        folder = platformdirs.user_cache_path("haarlequin", appauthor=False)
    return shown(folder.joinpath(*parts))


def shown(path: Path) -> Path:
    """``path`` as a person would type it in the working directory."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def writable(folder: Path) -> Path:
    """``folder``, made where it is missing. Raises `UsageError`, which names `VARIABLE`, if that fails."""
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
    """Variables to add to the environment of tools, so that they keep their caches in the build folder. Those
    that are already set are left out.
    """
    ours = {variable: str(build_folder("cache", name).absolute()) for variable, name in _CACHES.items()}
    return {variable: value for variable, value in ours.items() if variable not in os.environ}
