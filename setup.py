"""Where the packages lie: the import name is ``haarlequin``, the folders are at the top of the checkout.

All else is in pyproject.toml. The list is made when the package is built, so that no folder is forgotten.
"""

from setuptools import find_packages, setup

FOLDERS = {"haarlequin": "sw/haarlequin"} | {
    f"haarlequin.{part}": part for part in ("hw", "models", "sim", "sw")
}

packages = {"haarlequin": "sw/haarlequin"}
for part in ("hw", "models", "sim", "sw"):
    packages[f"haarlequin.{part}"] = part
    for package in find_packages(part, exclude=["haarlequin"]):
        packages[f"haarlequin.{part}.{package}"] = f"{part}/{package.replace('.', '/')}"

setup(packages=list(packages), package_dir=packages)
