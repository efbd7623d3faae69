"""`make mutate`: breaks every arithmetic function in turn and fails unless its own tests notice.

Works on a copy of the tree, a few minutes on two cores. A line that is no longer there to be broken is an
error too.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent

MUTATIONS = {  # file of models/arithmetic: (what stands there, what is put in its place)
    "fixed": [
        ("clip(value, -limit, limit - 1)", "clip(value, -limit, limit)"),
        ("clip(value, -limit, limit - 1)", "clip(value, 1 - limit, limit - 1)"),
        ("count_nonzero(clipped != value)", "count_nonzero(clipped < value)"),
        ("self.clipped += count", "self.clipped = count"),
        ("return value.clip(low, high)", "return value.clip(low)"),
        ("return xp.clip(value, low, high)", "return xp.clip(value, low, None)"),
        ("return value >> shift", "return value >> (shift + 1)"),
        ("value + (1 << (shift - 1))", "value + (1 << (shift - 1)) - 1"),
        ("value + (1 << (shift - 1))", "value + 0"),
        ("_FLOAT32_EXACT = 2**24", "_FLOAT32_EXACT = 2**25"),
    ],
    "binary": [
        ("shifted = value + move", "shifted = value + move - 1"),
        ("exact_matmul(signs, weight.T,", "exact_matmul(signs, -weight.T,"),
    ],
    "affine": [
        ("round_shift(a * acc, shift) + b", "round_shift(a * acc + b, shift)"),
        ("round_shift(a * acc, shift) + b", "(a * acc >> shift) + b"),
    ],
    "irprelu": [
        ("d = sat(value, wide_bits)", "d = value"),
        ("clip(d, None, 0)", "clip(d, None, -1)"),
        ("+ residual, wide_bits", ", wide_bits"),
    ],
    "haar": [
        ("shift_right(pair + right, 2)", "shift_right(pair + right + 2, 2)"),
        ("tokens[..., -1:, :, :]], axis=-3", "tokens[..., :1, :, :]], axis=-3"),
        ("pair[..., -1:, :]], axis=-2", "pair[..., :1, :]], axis=-2"),
        ("sat(x - lo, wide_bits)", "x - lo"),
    ],
    "softmax": [
        ("len(table) - 1)", "len(table) - 2)"),
        ("(e << fraction) >= limit", "(e << fraction) > limit"),
        ("((1 << bits) - 1)", "(1 << bits)"),
        ("total + weight", "total - weight"),
        ("* (1 << 29)", "* (1 << 24)"),
        ("e = e * allowed", "e = e + 0"),
    ],
    "diba": [
        ("(1 - k)", "(2 - k)"),
        (
            "(rows, columns), edge = v.shape, grid, theta // 2",
            "(rows, columns), edge = v.shape, grid, theta - 1",
        ),
        ("(local_convolution(v, weight, grid) << local_shift)", "local_convolution(v, weight, grid)"),
        ("weight[:, i, j]", "weight[:, j, i]"),
        ("acc + differential(attention, v, own_shift) if own", "acc if own"),
        ("if own else acc", "if True else acc"),
        ("(own + ((1 << own_shift) >> 1))", "own"),
    ],
    "embedding": [
        ("values - 128", "values - 127"),
        (
            "padded = xp.full((batch, height + 2, width + 2, channels), 128",
            "padded = xp.full((batch, height + 2, width + 2, channels), 0",
        ),
        ("i : i + height : stride, j : j", "j : j + height : stride, i : i"),
        ("shift_right(acc, acc_shift)", "shift_right(acc + 1, acc_shift)"),
        ("+ position, wide_bits)", ", wide_bits)"),
        ("(0, 1, 3, 2, 4, 5)", "(0, 1, 2, 3, 4, 5)"),
    ],
    "head": [
        ("feature_bits)\n    return", "feature_bits + 1)\n    return"),
        ("(feature_bits - 1)) + bias", "(feature_bits - 1))"),
        ("xp.sum(x,", "xp.sum(x[..., 1:, :],"),
        ("sat(affine(acc, a, b, shift), wide_bits)", "affine(acc, a, b, shift)"),
    ],
    "shortcut": [
        ("repeats.bit_length() - 1", "repeats.bit_length()"),
        ("[x] * repeats", "[-x] * repeats"),
    ],
    "convolution": [
        ("xp.ones((batch", "xp.zeros((batch"),
        ("(weight, (0, 2, 3, 1))", "(weight, (0, 3, 2, 1))"),
        ("[:, i : i + rows, j : j + columns, :] for", "[:, i : i + rows, 2 - j : 2 - j + columns, :] for"),
    ],
    "merge": [
        ("(0, 1, 3, 2, 4, 5)", "(0, 1, 3, 4, 2, 5)"),
        ("if outputs < inputs", "if outputs <= inputs // 4"),
        ("return repeat_channels(merged, outputs // inputs)", "return merged"),
    ],
    "windows": [
        ("(-shift, -shift)", "(shift, shift)"),
        ("tokens = xp.roll(tokens, (shift, shift)", "tokens = xp.roll(tokens, (shift, -shift)"),
        ("+ shift >= size", "+ shift > size"),
        ("int(a == b)", "int(a[0] == b[0])"),
    ],
}


@contextmanager
def mutated(path: Path, old: str, new: str) -> Iterator[None]:
    """The file with the first ``old`` replaced by ``new``, for the time of the block."""
    text = path.read_text(encoding="utf-8")
    if old not in text:
        raise SystemExit(f"{path.name}: {old!r} is no longer there: bring MUTATIONS up to date")
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(text, encoding="utf-8")


def noticed(tree: Path, name: str, old: str, new: str) -> bool:
    """Whether the tests of an arithmetic file fail once it is broken."""
    test = f"tests/models/arithmetic/test_{name}.py"
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", test]
    paths = os.pathsep.join([str(tree / "sw"), str(tree)])
    settings = {"PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    with mutated(tree / "models" / "arithmetic" / f"{name}.py", old, new):
        result = subprocess.run(command, cwd=tree, env=os.environ | settings, capture_output=True, text=True)
    if result.returncode > 1:
        raise SystemExit(f"pytest could not run {test}:\n{result.stdout[-2000:]}{result.stderr[-2000:]}")
    return result.returncode == 1


def main() -> None:
    """Try every mutation, as many at once as there are cores."""
    mutations = [(name, old, new) for name, pairs in MUTATIONS.items() for old, new in pairs]
    with tempfile.TemporaryDirectory() as scratch:
        trees: SimpleQueue[Path] = SimpleQueue()
        for i in range(os.cpu_count() or 1):
            tree = Path(scratch) / str(i)
            for folder in ("models", "sw/haarlequin", "tests"):
                shutil.copytree(ROOT / folder, tree / folder)
            shutil.copy(ROOT / "pyproject.toml", tree)
            trees.put(tree)

        def attempt(mutation: tuple[str, str, str]) -> bool:
            tree = trees.get()
            try:
                return noticed(tree, *mutation)
            finally:
                trees.put(tree)

        with ThreadPoolExecutor(trees.qsize()) as pool:
            killed = list(tqdm(pool.map(attempt, mutations), total=len(mutations), unit=" mutations"))
    for (name, old, new), dead in zip(mutations, killed, strict=True):
        if not dead:
            print(f"survived: {name}.py with {new!r} for {old!r}")
    print(f"{sum(killed)} of {len(mutations)} mutations noticed")
    sys.exit(0 if all(killed) else 1)


if __name__ == "__main__":
    main()
