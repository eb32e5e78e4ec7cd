"""What a comparison says in words: a sentence of what was found, a warning, and what a reader must be told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from icnn_viz.figures.panels import format_alike
from icnn_viz.figures.style import shorten
from icnn_viz.heatmaps import dark_lines
from icnn_viz.records import Heatmap, PixelGradient

_NAME = 40  # letters of a network's or class's name in a sentence


def describe_finding(
    heatmaps: Sequence[Heatmap], measures: Sequence[Mapping[str, float]], true_class: str = ""
) -> str:
    """One sentence from the data: how much of each network's energy lies on the object, or, where that is not known,
    how far from the pixel half of it lies. Networks whose map is zero everywhere are said to have none."""
    if any("energy_in_object" in found for found in measures):
        shares = [100 * found.get("energy_in_object", float("nan")) for found in measures]
        form, tail = (
            "{} % of its energy",
            f" on the {shorten(true_class or 'object', _NAME)} that holds the pixel",
        )
        texts = [f"{share:.0f}" if abs(share) >= 10 else f"{share:.1f}" for share in shares]
    else:
        radii = [found["half_energy_radius"] for found in measures]
        form, tail = "half of its energy within {} pixels", " of the cross"
        texts = format_alike(radii)
    said = []
    for heatmap, text in zip(heatmaps, texts, strict=True):
        name = shorten(heatmap.network, _NAME)
        if not heatmap.values.any():
            said.append(f"{name}: a map that is zero everywhere")
            continue
        said.append(f"{name}: {form.format(text)}{tail}")
        form, tail = form.replace(" of its energy", "") if "%" in form else "{}", ""
    return "; ".join(said) + "."


def warn_of_disagreement(gradients: Sequence[PixelGradient]) -> str:
    """Where the first two networks predict different classes at the pixel, that they do; else ""."""
    if len({gradient.predicted_name for gradient in gradients[:2]}) < 2:
        return ""
    first, second = (
        f"{shorten(g.network, _NAME)} predicts “{shorten(g.predicted_name, _NAME)}”" for g in gradients[:2]
    )
    logit = f"the logit of {gradients[0].followed}"
    return f"The networks disagree here: {first}, {second}; the maps of both are of {logit}."


def explain_lines(heatmaps: Sequence[Heatmap]) -> str:
    """Why maps have dark lines every few pixels, where they have; else ""."""
    found = {h.network: step for h in heatmaps if (step := dark_lines(h))}
    if not found:
        return ""
    steps = " and ".join(f"{step:.3g} ({shorten(name, _NAME)})" for name, step in found.items())
    return (
        f"Dark lines every {steps} pixels: there kernels of layers with a stride do not overlap, and fewer ways lead "
        "from the output to the image"
    )
