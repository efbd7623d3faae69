"""Damage to valid files: flips, cuts, splices, altered lengths and numbers, and other values in JSON."""

import copy
import json
import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

LARGEST = 1 << 20
"""No damaged file is longer, in bytes."""

_EDGES = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 1 << 24, (1 << 31) - 1, 1 << 31, (1 << 32) - 1]
_EDGES += [1 << 33, (1 << 63) - 1, (1 << 64) - 1]
_NUMBERS = ["0", "-1", "1e999", "65536", "4294967296", "9" * 25, "9" * 5000, "NaN", "0x7f", "07", "1.5", ""]
_VALUES: list[Any] = [None, True, False, 0, 1, -1, 2, 3, 7, 255, 65536, 1 << 31, 1 << 63, 10**400, 0.5, 1e308]
_VALUES += [
    float("nan"),
    float("inf"),
    "",
    "a",
    "a\nb",
    "\ud800",
    "\x1b[2J",
    "x" * 5000,
    [],
    {},
    [[]],
    [1, 2],
]
_VALUES += [{"a": 1}, [None] * 3000, ["", ""], "0"]


def _value(random: Random) -> Any:
    """One of `_VALUES`, which the caller may alter."""
    return copy.deepcopy(random.choice(_VALUES))


Mutator = Callable[[bytes, Random, Sequence[bytes]], bytes]
"""From a file, a generator and other files of the same reader to a damaged file."""


def _part(data: bytes, random: Random) -> tuple[int, int]:
    """The first and the last place of a range of ``data``; short ones are more likely."""
    start = random.randrange(len(data) + 1)
    return start, min(len(data), start + random.choice((1, 1, 2, 4, 8, 32, 512, len(data))))


def _flip(data: bytes, random: Random, others: Sequence[bytes]) -> bytes:
    if not data:
        return b"\0"
    at = random.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]


def _set(data: bytes, random: Random, others: Sequence[bytes]) -> bytes:
    at = random.randrange(len(data) + 1)
    return data[:at] + bytes([random.randrange(256)]) + data[at + 1 :]


def _number(data: bytes, random: Random, others: Sequence[bytes]) -> bytes:
    """An integer of 1 to 8 bytes at the edge of a range, in either order of bytes."""
    at, size = random.randrange(len(data) + 1), random.choice((1, 2, 3, 4, 8))
    value = random.choice((*_EDGES, len(data), len(data) + 1)) & (1 << 8 * size) - 1
    return data[:at] + value.to_bytes(size, random.choice(("little", "big"))) + data[at + size :]


def _digits(data: bytes, random: Random, others: Sequence[bytes]) -> bytes:
    """Another number in a text, decimal or octal, padded to the same width or not."""
    found = list(re.finditer(rb"-?\d[\d.]*", data))
    if not found:
        return _flip(data, random, others)
    at = random.choice(found)
    new = random.choice(_NUMBERS).encode()
    return data[: at.start()] + (new if random.random() < 0.5 else new[:1] * len(at[0])) + data[at.end() :]


def _remove(data: bytes, random: Random, others: Sequence[bytes]) -> bytes:
    start, end = _part(data, random)
    return data[:start] + data[end:]


def _repeat(data: bytes, random: Random, others: Sequence[bytes]) -> bytes:
    start, end = _part(data, random)
    return data[:end] + data[start:end] * random.choice((1, 1, 2, 100)) + data[end:]


def _insert(data: bytes, random: Random, others: Sequence[bytes]) -> bytes:
    at, size = random.randrange(len(data) + 1), random.choice((1, 2, 8, 64))
    return data[:at] + random.choice((random.randbytes(size), bytes(size), b"\xff" * size)) + data[at:]


def _cut(data: bytes, random: Random, others: Sequence[bytes]) -> bytes:
    return data[: random.randrange(len(data) + 1)]


def _splice(data: bytes, random: Random, others: Sequence[bytes]) -> bytes:
    """A part of another file in place of a part of this one."""
    other = random.choice(others) if others else data
    (start, end), (first, last) = _part(data, random), _part(other, random)
    return data[:start] + other[first:last] + data[end:]


_BYTES = (_flip, _flip, _set, _number, _number, _digits, _remove, _repeat, _insert, _cut, _splice)


def damaged(data: bytes, random: Random, others: Sequence[bytes] = ()) -> bytes:
    """``data`` after one or several changes, at most `LARGEST` bytes of it."""
    for _ in range(1 + min(8, int(random.expovariate(1)))):
        data = random.choice(_BYTES)(data, random, others)[:LARGEST]
    return data


def altered(value: Any, random: Random) -> Any:
    """What JSON holds with another value at one place, or with a key or an item more or less."""
    places = list(_places(value))
    if not places:
        return _value(random)
    holder, key = random.choice(places)
    match random.randrange(6):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, list):
            holder.insert(key, _value(random))
        case 1:
            holder[random.choice(("", "name", "x", "__class__"))] = _value(random)
        case 2:
            other, where = random.choice(places)
            if where in other if isinstance(other, dict) else where < len(other):
                holder[key] = copy.deepcopy(other[where])
        case 3 if type(holder[key]) is int:
            holder[key] += random.choice((-1, 1, 1 << 16, -(1 << 40)))
        case 3 if isinstance(holder[key], str):
            text = damaged(holder[key].encode(errors="replace"), random)
            holder[key] = text.decode(errors="replace")
        case _:
            holder[key] = _value(random)
    return value


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every place of a value within lists and objects: what holds it, and its key there."""
    found: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting:
        holder = waiting.pop()
        keys = holder.keys() if isinstance(holder, dict) else range(len(holder))
        if isinstance(holder, dict | list):
            found += [(holder, key) for key in keys]
            waiting += [holder[key] for key in keys if isinstance(holder[key], dict | list)]
    return found


def damaged_json(text: bytes, random: Random, others: Sequence[bytes] = ()) -> bytes:
    """JSON with other values, or nested too deep, or damaged as any file is."""
    if random.random() < 0.3:
        return damaged(text, random, others)
    if random.random() < 0.01:
        return b"[" * 100_000
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return damaged(text, random, others)
    if not isinstance(value, dict | list):
        return damaged(text, random, others)
    for _ in range(1 + int(random.expovariate(1))):
        value = altered(value, random)
        if not isinstance(value, dict | list):
            break
    return json.dumps(value).encode()
