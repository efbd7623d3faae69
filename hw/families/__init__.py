"""The families of FPGAs, with one file for each: PLL, RAMs, cells, and the programs that make bitstreams.

To add a family, add a file here with a `Family`, and a line in `FAMILIES`.
"""

from haarlequin.hw.families.ecp5 import ECP5
from haarlequin.hw.families.family import Family
from haarlequin.hw.families.gowin import GOWIN
from haarlequin.hw.families.ice40 import ICE40

FAMILIES: dict[str, Family] = {family.name: family for family in (ECP5, GOWIN, ICE40)}
"""All families, by name."""
