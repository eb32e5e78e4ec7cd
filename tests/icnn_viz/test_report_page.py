"""The page of a report: hostile names do nothing, nothing is fetched, the size is kept, files are whole."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from icnn_core.checkpoint import Checkpoint, IrregularLayer
from icnn_core.errors import DataError
from icnn_core.models.architecture import Architecture
from icnn_viz.displays import KernelDisplay
from icnn_viz.heatmaps import measure_heatmap, to_heatmap
from icnn_viz.records import PixelComparison, PixelGradient, PositionCloud
from icnn_viz.report import Findings, build_report, write_report
from icnn_viz.report import pictures as pictures_module
from icnn_viz.report.lead import summarise
from icnn_viz.report.page import name_files
from icnn_viz.report.pictures import LAYER_VIEWS, Budget, Picture, make_budget
from icnn_viz.report.space import to_space
from icnn_viz.report.words import FIGURES, words_of

EVIL = "</script><script>window.hit=1</script><img src=x onerror=window.hit=1>\"' onload='window.hit=1"
TAME = "a tame name"
VOID = {"meta", "img", "circle", "path", "br"}

MakeFindings = Callable[..., Findings]


@pytest.fixture(scope="module")
def make_findings(
    tmp_path_factory: pytest.TempPathFactory,
    make_cloud: Callable[..., PositionCloud],
    make_gradient: Callable[..., PixelGradient],
) -> MakeFindings:
    """Findings in which every name that a file can bring is `name`."""
    folder = tmp_path_factory.mktemp("report")

    def make(name: str, layers: int = 2, comparisons: int = 2) -> Findings:
        clouds = [make_cloud(f"{name}.{n}", depth=n, seed=n) for n in range(layers)]
        path = folder / "net.pt"
        path.write_bytes(b"abc")
        state = {f"{name}.weight": torch.zeros(3, 4, 3, 3), f"{name}.positions": torch.zeros(4, 9, 2)}
        checkpoint = Checkpoint(
            path, state, (IrregularLayer(name, (3, 3), (1, 1), name),), Architecture(name, {name: name}),
            classes=(name, f"{name}2"), palette=((1, 2, 3), (4, 5, 6)), dataset={"name": name, "config": {name: name}},
            metrics={"iou": {name: 0.5}, "mean_iou": 0.5, "iteration": name}, package_version=name,
        )  # fmt: skip
        display = KernelDisplay(clouds)
        tables = display.tables()
        tables["claims"].loc[0, ["claim", "verdict", "evidence"]] = name
        gradients = [make_gradient(f"{name}{label}", classes=(name, name), seed=label) for label in (0, 1)]
        maps = [to_heatmap(gradient) for gradient in gradients]
        look = PixelComparison(gradients, maps, [measure_heatmap(one) for one in maps], name, name)
        return Findings(
            {f"{name}a": checkpoint, f"{name}b": checkpoint}, display, tables, [look] * comparisons,
            run=KernelDisplay(clouds, steps=(0, 10), snapshots=(clouds, clouds)),
            commands=[(name, name)], device=name, notes=(name,),
        )  # fmt: skip

    return make


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stands in for drawing, which takes most of the time; the list holds what was to be drawn."""
    alts: list[str] = []

    def make_picture(
        draw: object, budget: object, alt: str, *, dark: bool = True, vector: bool = False
    ) -> Picture:
        alts.append(alt)
        return Picture(
            "data:image/webp;base64,AA==", "data:image/webp;base64,AA==" if dark else "", 300, 200, alt
        )

    monkeypatch.setattr("icnn_viz.report.panels.make_picture", make_picture)
    return alts


class Reader(HTMLParser):
    """Tags with the names of their attributes, scripts by their type, and addresses that could be fetched."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.scripts: list[tuple[str, str]] = []
        self.addresses: list[str] = []
        self.policy, self.open = "", []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))
        values = {name: value or "" for name, value in attrs}
        self.addresses += [values[name] for name in ("src", "href", "srcset", "action") if name in values]
        if values.get("http-equiv") == "Content-Security-Policy":
            self.policy = values["content"]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "script":
            self.scripts.append((values.get("type", ""), ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            kind, text = self.scripts.pop()
            self.scripts.append((kind, text + data))


@pytest.mark.usefixtures("drawn")
def test_names_with_html_in_them_change_nothing_of_the_page(make_findings: MakeFindings) -> None:
    evil, tame = Reader(build_report(make_findings(EVIL))), Reader(build_report(make_findings(TAME)))
    assert evil.open == []
    assert evil.tags == tame.tags
    assert [name for _, names in evil.tags for name in names if name.startswith("on")] == []


def test_files_of_the_same_name_are_told_apart(make_findings: MakeFindings) -> None:
    findings = make_findings("x", comparisons=0)
    assert name_files(findings) == ["net.pt (xa)", "net.pt (xb)"]
    findings.checkpoints["xb"] = replace(findings.checkpoints["xb"], path=Path("runs/other.pt"))
    assert name_files(findings) == ["net.pt", "other.pt"]


@pytest.mark.usefixtures("drawn")
def test_the_policy_lets_only_the_page_s_own_scripts_run(make_findings: MakeFindings) -> None:
    page = Reader(build_report(make_findings(EVIL)))
    code = [text for kind, text in page.scripts if not kind]
    hashes = {
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in code
    }
    allowed = dict(part.split(" ", 1) for part in page.policy.split("; "))
    assert set(allowed["script-src"].split()) == hashes
    assert len(hashes) == 3
    assert allowed["default-src"] == "'none'"


@pytest.mark.usefixtures("drawn")
def test_nothing_is_fetched(make_findings: MakeFindings) -> None:
    text = build_report(make_findings(TAME))
    addresses = [a for a in Reader(text).addresses if not a.startswith(("data:", "#"))]
    assert addresses == ["https://arxiv.org/abs/1706.07966"]  # a link, for a reader to follow
    style = re.findall(r"<style>(.*?)</style>", text, re.S)
    assert len(style) == 1
    assert "url(" not in style[0]
    assert "@import" not in style[0]


@pytest.mark.usefixtures("drawn")
def test_plotly_is_given_no_name_to_draw(make_findings: MakeFindings) -> None:
    page = Reader(build_report(make_findings(EVIL, layers=3)))
    space = next(text for kind, text in page.scripts if kind == "application/json")
    assert "window.hit" not in space  # plotly draws <b>, <a> and more of a text
    assert [layer["note"] for layer in json.loads(space)["layers"]] == ["40 channels, 3×3, dilation 2×3"] * 3


def test_each_layer_in_space_owns_its_traces(make_cloud: Callable[..., PositionCloud]) -> None:
    clouds = [make_cloud(f"l{n}", kernel_size=size, depth=n) for n, size in enumerate([(3, 3), (1, 5)])]
    space = to_space(clouds)
    assert [layer["traces"] for layer in space["layers"]] == [list(range(10)), list(range(10, 16))]
    assert [layer["note"] for layer in space["layers"]] == [
        f"40 channels, {k}, dilation 2×3" for k in ("3×3", "1×5")
    ]
    scenes = [layer[theme]["xaxis"]["range"] for layer in space["layers"] for theme in ("light", "dark")]
    assert scenes[0] == scenes[1] != scenes[2] == scenes[3]
    assert all(trace["visible"] is True for trace in space["data"])
    only = to_space(clouds[1:])
    assert only["layers"][0]["traces"] == list(range(6))
    assert only["layers"][0]["light"] == space["layers"][1]["light"]
    assert space["layouts"]["light"]["paper_bgcolor"] != space["layouts"]["dark"]["paper_bgcolor"]


def test_every_figure_has_its_words_above_it(make_findings: MakeFindings, drawn: list[str]) -> None:
    text = build_report(make_findings(TAME, layers=1))
    plain = re.sub(r"\s+", " ", html.unescape(text))
    instead = {"shapes", "inspect", "histogram", "taps"}  # of one shape, without slots; of networks in memory
    for kind, words in FIGURES.items():
        assert (words.what in plain) == (kind not in instead), kind
        assert (words.reading in plain) == (kind not in instead), kind
        for sentence in (words.what, words.reading):  # one sentence each
            assert re.match(r"^[A-Z].*[^.]\.$", sentence), kind
            assert not re.search(r"[.!?] [A-Z]", sentence), kind
    assert len(drawn) == len(LAYER_VIEWS) + 2 + 1 + 2 + 1


def test_layers_without_clouds_get_what_says_something(
    make_cloud: Callable[..., PositionCloud], make_findings: MakeFindings, drawn: list[str]
) -> None:
    free = replace(make_cloud("free"), regular=False)
    display = KernelDisplay([free, make_cloud("one", channels=1, sharing="layer", depth=1)])
    findings = replace(
        make_findings(TAME, layers=1, comparisons=0), display=display, tables=display.tables(), run=None
    )
    build_report(findings)
    assert drawn == [
        f"{words_of(kind, where != 'layer free').title}: {where}"
        for kind, where in (
            *(("histogram", "layer free"), ("3d", "layer free"), ("zoo", "layer free")),
            *(("inspect", "layer one"), ("3d", "layer one")),
            *(("strip", "2 layers"), ("shapes", "2 layers")),
        )
    ]


def test_many_layers_get_plainer_pictures_and_the_page_says_so(
    make_findings: MakeFindings, drawn: list[str]
) -> None:
    few, many, most = (make_budget(layers, 10, 6_000_000) for layers in (3, 35, 200))
    assert (few.dark, few.notes, len(few.views), few.turns) == (True, (), 5, True)
    assert (many.views, many.turns) == (("cloud", "zoo"), False)
    assert many.most >= 56_000
    assert "35 layers" in many.notes[0]
    assert "turned by hand" in many.notes[0]
    assert most.views == ("cloud",)
    assert make_budget(13, 0, 0).notes[0].startswith("No cloud can be turned by hand, so")
    for budget, layers in ((few, 3), (many, 35), (most, 200)):
        pictures = 2 * 10 + layers * len(budget.views) * (1 + budget.dark)
        assert 6_000_000 + pictures * budget.most * 4 / 3 <= 15_000_000
    text = build_report(make_findings(TAME, layers=3, comparisons=0), limit=8_400_000)
    assert "so that a page of 3 layers stays below 8 MB" in text
    assert len(drawn) == 3 * 5 + 3
    assert text.count('<img class="only"') == 3 * 5 + 1  # and the cloud that stands first


@pytest.mark.usefixtures("drawn")
def test_of_many_layers_nothing_is_brought_that_turns_them(make_findings: MakeFindings) -> None:
    names = [f"layer {number}" for number in range(13)]
    findings = make_findings(TAME, layers=1, comparisons=0)
    for count, turns in ((12, True), (13, False)):
        display = KernelDisplay([replace(findings.display.clouds[0], layer=name) for name in names[:count]])
        tables = {
            **display.tables(),
            "claims": findings.tables["claims"],
            "effects": findings.tables["effects"],
        }
        text = build_report(replace(findings, display=display, tables=tables, run=None))
        assert ("plotly.js" in text) == turns
        assert ("space-data" in Reader(text).policy or 'id="space-data"' in text) == turns
        assert ('class="turn needs-js"' in text) == turns
        assert len([kind for kind, _ in Reader(text).scripts if not kind]) == 2 + turns


@pytest.mark.usefixtures("drawn")
def test_what_was_found_comes_first_and_the_card_last(make_findings: MakeFindings) -> None:
    text = build_report(make_findings(TAME))
    names = ("what", "kernels", "claims", "heatmaps", "tables", "card", "made")
    heads = [text.index(f'<h2 id="{name}"') for name in names]
    lead, first = text.index('class="lead"'), text.index('class="first"')
    assert [lead, first, *heads] == sorted([lead, first, *heads])
    assert text.index("SHA-256") > heads[5]
    shown = text[first : heads[0]]
    assert shown.count("<figure") == 2
    assert "Where the weights lie: layer" in shown
    assert "Heatmaps of what" in shown


def _moved(cloud: PositionCloud, y: float, x: float) -> PositionCloud:
    """Every weight of its four channels so far from its slot."""
    return replace(cloud, positions=np.tile(cloud.slots + np.array([y, x]), (1, 4, 1, 1)))


def test_the_findings_are_three_sentences(
    make_findings: MakeFindings, make_cloud: Callable[..., PositionCloud]
) -> None:
    findings = make_findings("net", layers=1)
    flat = make_cloud("flat", channels=4)
    near = _moved(flat, 0.3, 0.4)
    far = replace(_moved(flat, 0.0, 2.0), layer="far", depth=1)
    far = replace(
        far, positions=np.tile(far.positions, (1, 3, 1, 1)), weights=np.tile(far.weights, (1, 3, 1))
    )
    display = KernelDisplay([near, far])
    claims = findings.tables["claims"].assign(
        verdict=["holds", "holds", "does not hold", *["cannot be said here"] * 2]
    )
    [look] = findings.comparisons[:1]
    on = [{**one, "energy_in_object": share} for one, share in zip(look.measures, (0.419, 0.38), strict=True)]
    findings = replace(
        findings,
        display=display,
        tables={**display.tables(), "claims": claims},
        comparisons=[replace(look, measures=on)],
    )
    y, x = look.pixel
    start = "The 144 weights of 2 layers lie 1.62 pixels on average from where they started"
    place = f"At x = {x}, y = {y} in net"
    judged = "of the paper's 5 claims on such shapes: 2 hold, 1 does not hold, 2 cannot be judged."
    assert summarise(findings) == [
        f"{start}, farthest in far (2.00 pixels).",
        f"{place}, net0: 42 % of its energy on the net that holds the pixel; net1: 38 %.",
        f"Mean IoU, as the files tell it: neta 50.0%, netb 50.0%; {judged}",
    ]
    untold = {name: replace(one, metrics={}) for name, one in findings.checkpoints.items()}
    last = summarise(replace(findings, checkpoints=untold, comparisons=[]))[1:]
    assert last == [f"O{judged[1:]}"]


def test_positions_that_were_lost_lie_nowhere(
    make_findings: MakeFindings, make_cloud: Callable[..., PositionCloud]
) -> None:
    findings = make_findings("net", layers=1)
    near = _moved(make_cloud("near", channels=4), 0.3, 0.4)
    gone = replace(near, layer="gone", depth=1, positions=np.full_like(near.positions, np.nan))
    half = replace(near, positions=np.where(np.arange(4)[:, None, None] < 1, np.nan, near.positions))
    start = "The 36 weights of {} lie 0.50 pixels on average from where they started"
    lost = "positions are not finite: the training that made them diverged."
    for clouds, told in (
        ([gone], f"36 of 36 {lost}"),
        (
            [half],
            f"The 27 weights of layer near lie 0.50 pixels on average from where they started. 9 of 36 {lost}",
        ),
        ([gone, near], f"{start.format('2 layers')}, farthest in near (0.50 pixels). 36 of 72 {lost}"),
    ):
        assert summarise(replace(findings, display=KernelDisplay(clouds)))[0] == told


@pytest.mark.usefixtures("drawn")
def test_claims_with_one_answer_get_it_once(make_findings: MakeFindings) -> None:
    findings = make_findings(TAME, layers=1, comparisons=0)
    claims = findings.tables["claims"].assign(
        claim=list("abcde"),
        verdict=["holds", *["cannot be said here"] * 4],
        evidence=["seen", *["too few"] * 2, "no slots", "too few"],
    )
    text = build_report(replace(findings, tables={**findings.tables, "claims": claims}))
    told = text[text.index('id="claims"') : text.index("What it says beyond")]
    assert re.findall(r"<strong>(.*?):</strong>.*?<br>(.*?)</li>", told) == [
        ("a", "seen"),
        ("b; c", "too few"),
        ("d", "no slots"),
        ("e", "too few"),
    ]


@pytest.mark.usefixtures("drawn")
def test_a_page_that_is_too_large_is_refused(make_findings: MakeFindings) -> None:
    with pytest.raises(DataError, match=r"at most 2 MB; got \d+\.\d MB.*fewer layers"):
        build_report(make_findings(TAME, layers=1, comparisons=0), limit=2_000_000)


def test_a_picture_keeps_its_bytes() -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 420, 3), np.uint8))
    whole = pictures_module._to_webp(noise, 10**9)
    small = pictures_module._to_webp(noise, 9_000)
    assert len(small) <= 9_000 < len(whole)


def test_a_picture_takes_what_earlier_ones_left() -> None:
    plain = Image.new("RGB", (300, 420), "white")
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 420, 3), np.uint8))
    whole = len(pictures_module._to_webp(noise, 10**9))
    budget = Budget(("cloud",), True, most=whole - 1000)
    sizes = [len(budget.encode(image)) for image in (noise, plain, noise, plain, noise)]
    assert sizes[0] < budget.most < whole == sizes[2] == sizes[4]
    assert sum(sizes) + budget.left == 5 * budget.most

    few = Budget(("cloud",), True, most=whole // 4, left=10 * whole)
    assert len(few.encode(noise)) <= 2 * few.most  # however much is left


def test_a_picture_is_drawn_in_both_themes() -> None:
    from matplotlib.figure import Figure

    asked: list[str] = []

    def draw(theme: str, maps: str = "") -> Figure:
        asked.append(theme + maps)
        figure = Figure(figsize=(2, 1), facecolor={"light": "white", "dark": "black"}[theme])
        if maps:
            figure.add_axes((0.9, 0.9, 0.1, 0.1)).imshow([[1.0]], cmap=maps)
        return figure

    picture = pictures_module.make_picture(draw, make_budget(1, 1, 0), "words")
    assert asked == ["light"]  # its colours are exchanged
    assert pictures_module.make_picture(partial(draw, maps="PuOr"), make_budget(1, 1, 0), "words").dark
    assert asked == ["light", "lightPuOr", "darkPuOr"]
    assert (picture.width, picture.height) == (254, 127)
    for uri, bright in ((picture.light, True), (picture.dark, False)):
        head, data = uri.split(",")
        assert head == "data:image/webp;base64"
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            assert (image.convert("L").getpixel((5, 5)) > 128) == bright
    assert pictures_module.make_picture(draw, make_budget(1, 1, 0), "words", dark=False).dark == ""


def test_everything_can_be_drawn(make_findings: MakeFindings, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[tuple[int, int]] = []
    draw = pictures_module.to_image
    monkeypatch.setattr(pictures_module, "to_image", lambda figure, dpi: draw(figure, 20))
    text = build_report(make_findings(TAME, layers=1), on_drawn=lambda *counts: done.append(counts))
    assert done == [(number, 11) for number in range(1, 12)]
    found = re.findall(
        r'<img class="(\w+)" src="data:image/webp;base64,([^"]+)" width="(\d+)" height="(\d+)"', text
    )
    assert [kind for kind, *_ in found] == ["light", "dark"] * 12  # those that stand first stand below, too
    strips = re.findall(r'<img class="(\w+)" src="data:image/svg\+xml;base64,([^"]+)"', text)
    assert [kind for kind, _ in strips] == ["light", "dark"]
    assert all(base64.b64decode(data).lstrip().startswith(b"<?xml") for _, data in strips)
    for kind, data, width, height in found:
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            assert image.width / image.height == pytest.approx(int(width) / int(height), rel=0.05)
            assert (np.median(np.asarray(image)[0]) > 128) == (kind == "light")


def test_the_page_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_report("old", tmp_path / "new folder" / "page.html")
    assert path.read_text() == "old"
    write = Path.write_text

    def stopped(self: Path, text: str, **options: Any) -> int:
        write(self, text[:1], **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_text", stopped)
    with pytest.raises(KeyboardInterrupt):
        write_report("new", path)
    assert [p.name for p in path.parent.iterdir()] == ["page.html"]
    assert path.read_text() == "old"


def test_the_same_findings_give_the_same_bytes(
    make_findings: MakeFindings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever on a day they are written."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1500000000")
    text = build_report(make_findings(TAME, layers=1, comparisons=0))
    assert "<td>2017-07-14</td>" in text
    later = datetime(2017, 7, 14, 23, 59, tzinfo=UTC)
    assert build_report(make_findings(TAME, layers=1, comparisons=0), now=later) == text
