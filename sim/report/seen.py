"""The model's view: images with their answers, Haar bands and attention, its worst mistakes, confusion."""

from pathlib import Path

import numpy as np
import plotly.graph_objects as go

from haarlequin.models import data
from haarlequin.models.common.places import shown
from haarlequin.models.config import LayerPlace
from haarlequin.models.golden import GoldenModel, Trace
from haarlequin.models.stages import ATTENTION
from haarlequin.sim.report.networks import card
from haarlequin.sim.report.panel import GREY, Panel, Section, figure, missing
from haarlequin.sim.workload import DRAWINGS, Workload, workload
from haarlequin.sw.accelerator import scores

SHOWN = 4
"""Images whose bands and attention are drawn."""

WORST = 8
"""Mistakes that are shown."""

ASKED = 500
"""Test images at most of which the worst mistakes are sought: seconds for the integer model."""

BATCH = 50


def section(name: str, images: Path | None) -> Section:
    """The answers of the trained model of that name; ``images`` is the folder of its data set."""
    lead = (
        "Images as the network gets them, and its answers in integers, as the accelerator computes them. "
        "The bands are those of the Haar transform of the token grid: how large each token's values are, "
        "mean by mean (low) and difference by difference (high). Attention: how many tokens look at each "
        "token, for each head of the layer. Yellow is most."
    )
    own = images is not None or name in data.BUNDLED
    what = workload(name, [], ASKED if own else None, images)
    logits = np.concatenate(
        [what.model(what.pixels[i : i + BATCH]) for i in range(0, len(what.pixels), BATCH)]
    )
    panels = [*_seen(what, logits, own), _confusion(what, logits, own), _mistakes(what, logits, own)]
    return Section("seen", "What the model sees", lead, panels)


def _command(name: str, own: bool) -> str:
    if own:
        return f"haarlequin evaluate {name}" + ("" if name in data.BUNDLED else " --data DIR")
    return f"haarlequin infer --device golden --model {name} {shown(DRAWINGS)}"


def _image(pixels: np.ndarray, title: str) -> go.Figure:
    height, width = pixels.shape[:2]
    colours = pixels if pixels.shape[2] == 3 else np.repeat(pixels, 3, axis=2)
    return _map(
        go.Image(z=colours, hovertemplate="row %{y}, column %{x}: %{z}<extra></extra>"),
        (height, width),
        title,
    )


def _map(trace: go.Image | go.Heatmap, grid: tuple[int, int], title: str) -> go.Figure:
    """A square map without axes: its rows and columns are named where a person points."""
    made = figure(
        trace,
        title={"text": title, "x": 0.5, "font": {"size": 13}},
        xaxis={"visible": False, "range": [-0.5, grid[1] - 0.5], "constrain": "domain"},
        yaxis={"visible": False, "range": [grid[0] - 0.5, -0.5], "scaleanchor": "x", "constrain": "domain"},
    )
    return made.update_layout(margin={"l": 4, "r": 4, "t": 30, "b": 4})


def _seen(what: Workload, logits: np.ndarray, own: bool) -> list[Panel]:
    """The first image of several classes, each with its bands and where its tokens look."""
    place = _attention_layer(what.model)
    chosen = _first_of_classes(what)
    panels = []
    for number in chosen:
        trace: Trace = {}
        what.model(what.pixels[number : number + 1], trace)
        title = _title(what, number, own)
        plots = [_image(what.pixels[number], "the image")]
        if place is not None:
            plots += [*_bands(place, trace), *_heads(place, trace)]
        says = _answer(what, logits, number)
        if place is not None:
            says += f" Maps: {place.name}, {_times(place.config.grid)} tokens."
        panels.append(Panel(f"image-{number}", title, says, _command(what.name, own), plots, 140, 100))
    return panels


def _times(grid: tuple[int, int]) -> str:
    return f"{grid[1]}×{grid[0]}"


def _first_of_classes(what: Workload) -> list[int]:
    if what.labels is None or what.model.config.segmentation:
        return list(range(min(SHOWN, len(what.pixels))))
    labels = what.labels.tolist()
    return [labels.index(label) for label in dict.fromkeys(labels)][:SHOWN]


def _attention_layer(model: GoldenModel) -> LayerPlace | None:
    """The first layer that attends."""
    return next((place for place in model.config.places if place.config.stage.kind == ATTENTION), None)


def _title(what: Workload, number: int, own: bool) -> str:
    if what.labels is None or what.model.config.segmentation:
        return f"Random image {number}"
    kind = f"Test image {number}" if own else "A drawing"
    return f"{kind}: {what.model.config.classes[what.labels[number]]}"


def _answer(what: Workload, logits: np.ndarray, number: int) -> str:
    config = what.model.config
    if config.segmentation:
        return "A class for every token."
    share = scores(logits[number], config.logit_scale)
    order = [i for i in np.argsort(-share, kind="stable")[:3] if share[i] >= 0.005]
    return "The network says " + ", ".join(f"{config.classes[i]} {share[i]:.0%}" for i in order) + "."


def _bands(place: LayerPlace, trace: Trace) -> list[go.Figure]:
    """The mean magnitude of each token's channels in both bands."""
    if not place.config.hfsc:
        return []
    plots = []
    for band, title in (("lo", "low band"), ("hi", "high band")):
        values = np.abs(trace[f"{place.name}.x_{band}"][0]).mean(-1).reshape(place.config.grid)
        hover = "row %{y}, column %{x}: mean |x| = %{z:.1f}<extra></extra>"
        plots.append(_map(_heat(values, hover), place.config.grid, title))
    return plots


def _heads(place: LayerPlace, trace: Trace) -> list[go.Figure]:
    """How many tokens look at each token, for each head. Windows are put beside each other as they lie."""
    attention = trace[f"{place.name}.attention"]  # (windows, heads, tokens, tokens)
    size, (rows, columns) = place.config.stage.window, place.config.grid
    plots = []
    for head in range(attention.shape[1]):
        looked = attention[:, head].sum(-2)
        if size:
            looked = looked.reshape(rows // size, columns // size, size, size).transpose(0, 2, 1, 3)
        hover = "row %{y}, column %{x}: %{z} tokens look here<extra></extra>"
        plots.append(_map(_heat(looked.reshape(rows, columns), hover), (rows, columns), f"attention {head}"))
    return plots


def _heat(values: np.ndarray, hover: str) -> go.Heatmap:
    return go.Heatmap(z=values, colorscale="Viridis", showscale=False, hovertemplate=hover)


def _mistakes(what: Workload, logits: np.ndarray, own: bool) -> Panel:
    title, config = "Worst mistakes", what.model.config
    command = _command(what.name, own)
    if what.labels is None or config.segmentation or not own:
        text = f"The test images of {what.name} are not at hand."
        return missing("mistakes", title, text, f'make report MODEL={what.name} ARGS="--data DIR"')
    share = np.stack([scores(row, config.logit_scale) for row in logits])
    truth, guess = what.labels, logits.argmax(1)
    wrong = np.flatnonzero(guess != truth)
    lost = share[wrong, guess[wrong]] - share[wrong, truth[wrong]]
    worst = wrong[np.argsort(-lost, kind="stable")][:WORST]
    plots = []
    for number in worst:
        sure = share[number, guess[number]]
        name = f"{config.classes[truth[number]]}, taken for<br>{config.classes[guess[number]]} {sure:.0%}"
        plots.append(_image(what.pixels[number], name).update_layout(margin={"t": 44}))
    says = (
        f"{len(wrong)} of the first {len(truth)} test images are labelled wrong: the surest answers of these."
    )
    return Panel("mistakes", title, says, command, plots, 200, 150, wide=True)


def confusion(what: Workload, logits: np.ndarray, own: bool) -> tuple[np.ndarray, str] | None:
    """How often each class got each answer, (true class, answer), and the command that counted it.

    It is of all test images where the model's card has it, and else of those at hand; None without any.
    """
    kept = (card(what.name) or {}).get("confusion")
    if kept:
        return np.array(kept), f"haarlequin train --preset {what.name} …"
    if what.labels is None or what.model.config.segmentation or not own:
        return None
    counts = np.zeros((len(what.model.config.classes),) * 2, int)
    np.add.at(counts, (what.labels, logits.argmax(1)), 1)
    return counts, _command(what.name, own)


def _confusion(what: Workload, logits: np.ndarray, own: bool) -> Panel:
    title, classes = "Confusion", list(what.model.config.classes)
    found = confusion(what, logits, own)
    if found is None:
        text = f"No confusion of {what.name} is known."
        return missing("confusion", title, text, f'make report MODEL={what.name} ARGS="--data DIR"')
    counts, command = found
    total = counts.sum(1)
    right = counts.diagonal() / np.maximum(total, 1)
    worst = int(right.argmin())
    others = np.where(np.arange(len(classes)) == worst, -1, counts[worst])
    taken = int(others.argmax())
    shares = 100 * counts / np.maximum(total, 1)[:, None]
    mistakes = shares.copy()
    np.fill_diagonal(mistakes, np.nan)  # the colours are for mistakes
    heat = go.Heatmap(
        z=mistakes,
        x=classes,
        y=classes,
        customdata=np.dstack([counts, shares]),
        colorscale="Oranges",
        showscale=False,
        hoverongaps=True,
        hovertemplate="%{y}, called %{x}: %{customdata[0]} images, %{customdata[1]:.1f} %<extra></extra>",
    )
    numbers = go.Scatter(
        x=[x for _ in classes for x in classes],
        y=[y for y in classes for _ in classes],
        mode="text",
        textfont={
            "size": 10,
            "color": [_ink(row, column, mistakes) for row, column in np.ndindex(shares.shape)],
        },
        hoverinfo="skip",
        showlegend=False,
    )
    numbers.text = [f"{share:.0f}" for share in shares.ravel()]
    axis = {"type": "category", "constrain": "domain", "tickmode": "linear", "showgrid": False}
    made = figure(
        heat,
        numbers,
        xaxis={"title": {"text": "answer, % of the true class"}, "tickangle": -60, **axis},
        yaxis={"title": {"text": "true class"}, "autorange": "reversed", "scaleanchor": "x", **axis},
    )
    says = (
        f"Of {counts.sum():,} test images {counts.diagonal().sum() / counts.sum():.1%} are right. The worst "
        f"class is {classes[worst]}: {right[worst]:.0%} right, most often taken for {classes[taken]}."
    )
    return Panel("confusion", title, says, command, [made], 460)


def _ink(row: int, column: int, mistakes: np.ndarray) -> str:
    """The colour of a number in the matrix: grey, for a light and a dark page, where the square has none."""
    if row == column:
        return GREY
    return "#ffffff" if mistakes[row, column] > 0.6 * np.nanmax(mistakes) else "#333333"
