"""From a question as a browser puts it to what page 1 shows and saves."""

from __future__ import annotations

import time
from typing import Any

from dash import html
from dash.exceptions import PreventUpdate

from icnn_core.errors import ArgumentError, IcnnError
from icnn_viz.displays.pixels import Question
from icnn_viz.displays.tables import to_csv
from icnn_viz.explorer.memory import StaleError
from icnn_viz.explorer.pages.parts import table, tell, theme_of
from icnn_viz.explorer.session import Session
from icnn_viz.explorer.states import MOST_SMOOTHING
from icnn_viz.figures.comparison import describe_question
from icnn_viz.figures.comparison_pages import draw_comparison_interactive
from icnn_viz.figures.comparison_parts import say
from icnn_viz.figures.measure_table import answer_rows, measure_rows
from icnn_viz.records import PixelComparison


def reply(session: Session, ask: dict[str, Any] | None) -> dict[str, Any]:
    """What the browser is sent for a question: its number, and figure, table and words, or what went wrong.

    Raises:
        PreventUpdate: there is no question, or a newer one has come.
    """
    if not ask:
        raise PreventUpdate
    started = time.perf_counter()
    is_stale = session.turns.take(str(ask["tab"])[:40], int(ask["number"]))
    try:
        question = to_question(ask)
        found = session.answer(question, is_stale)
    except StaleError as error:
        raise PreventUpdate from error
    except IcnnError as error:
        return {"number": ask["number"], "error": tell(error)}
    pair = found.gradients[:2], found.heatmaps[:2]
    known = {"measures": found.measures[:2], "true_class": found.true_class, "labels": found.labels}
    shown: dict[str, Any] = {"difference": question.difference, "revision": question.image}
    shown["theme"] = theme_of(ask.get("theme"))
    figure = draw_comparison_interactive(*pair, **known, **shown, fluid=True)
    rest = time.perf_counter() - started - found.seconds
    return {
        "number": ask["number"],
        "figure": figure.to_dict(),
        "table": _to_table(found),
        "words": to_words(found),
        "took": f"networks {found.seconds:.2f} s, the rest {rest:.2f} s",
    }


def to_question(ask: dict[str, Any]) -> Question:
    """A question as the browser puts it.

    Raises:
        ArgumentError: a number is missing or none.
    """
    try:
        pixel = (int(ask["y"]), int(ask["x"]))
        class_id = int(ask["class"]) if ask.get("class") else None
        smoothing = min(max(float(ask.get("smoothing") or 0), 0.0), MOST_SMOOTHING)
        if not smoothing >= 0:
            raise ValueError("a smoothing that is no number")
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise ArgumentError(
            "pixel", needed="x and y as whole numbers", got="none", fix="Click a pixel, or fill in both."
        ) from error
    difference = "raw" if ask.get("difference") == "raw" else "shares"
    return Question(
        str(ask.get("image")), pixel, str(ask.get("method")), class_id, smoothing, difference=difference
    )


def to_words(answer: PixelComparison) -> str:
    """What was found, and what the maps show, in sentences: also for those who cannot see them."""
    true = f" True class: {answer.true_class}." if answer.true_class else ""
    notes = dict.fromkeys(note for heatmap in answer.heatmaps for note in heatmap.notes)
    found = say(answer.gradients, answer.heatmaps, measures=answer.measures, true_class=answer.true_class)
    what = describe_question(answer.gradients[0])
    return f"{found} {what}.{true} {' '.join(f'({n})' for n in notes)}".strip()


def measures_csv(answer: PixelComparison) -> str:
    """One row a network and measure."""
    import pandas as pd

    y, x = answer.pixel
    rows = [
        {"image": answer.source, "x": x, "y": y, "class": g.class_name, "method": g.method}
        | {"model": g.network, "logit": g.logit, "measure": name, "value": value}
        for g, measures in zip(answer.gradients, answer.measures, strict=True)
        for name, value in measures.items()
    ]
    return to_csv(pd.DataFrame(rows))


def maps_csv(answer: PixelComparison) -> str:
    """One row a pixel: y, x, a column per network, the first minus the second, and the same of shares of the energy."""
    import numpy as np
    import pandas as pd

    maps = {heatmap.network: heatmap.shown.ravel() for heatmap in answer.heatmaps}
    y, x = np.indices(answer.heatmaps[0].values.shape)
    first, second = list(maps.values())[:2]
    columns = {"y": y.ravel(), "x": x.ravel(), **maps, "difference": first - second}
    shares = [heatmap.shares.ravel() for heatmap in answer.heatmaps[:2]]
    columns |= {"difference_of_shares": shares[0] - shares[1]}
    return to_csv(pd.DataFrame(columns), float_format="%.6g")


def _to_table(answer: PixelComparison) -> html.Table:
    rows = [[row.title, *row.texts] for row in (*answer_rows(answer), *measure_rows(answer))]
    if answer.true_class:
        rows.insert(1, ["true class", *[answer.true_class] * len(answer.networks)])
    return table(["", *answer.networks], rows, "")
