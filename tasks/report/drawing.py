"""Matplotlib figures as SVG that takes its colours and fonts from the page.

A figure is drawn with stand-in colours; in the SVG these become CSS variables, so that one picture serves light and
dark. Style attributes become presentation attributes, which a page without inline styles allows. Only elements and
attributes that a drawing needs are let through, so a picture cannot bring script or addresses.
"""

from __future__ import annotations

import io
import re
import warnings
import xml.etree.ElementTree as ET
from typing import Any, NamedTuple

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

INK, MUTED, GRID, PAPER = "#010101", "#020202", "#030303", "#040404"
DRAFT, TARGET, PRM, GOOD, BAD = "#010201", "#010301", "#010401", "#010501", "#010601"
SERIES = tuple(f"#0102{n:02x}" for n in range(16, 26))
"""Ten colours that are told apart."""
NAMES = {
    INK: "ink",
    MUTED: "muted",
    GRID: "grid",
    PAPER: "paper",
    DRAFT: "draft",
    TARGET: "target",
    PRM: "prm",
    GOOD: "good",
    BAD: "bad",
    **{colour: f"s{n}" for n, colour in enumerate(SERIES)},
}
OF_ROLE = {"draft": DRAFT, "target": TARGET, "prm": PRM}
WIDTH, HEIGHT = 5.6, 3.7
"""Inches of 72 units; on a phone a picture is as wide as the screen."""
STYLE: Any = {
    "svg.hashsalt": "stepwave",
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 12,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.labelsize": 12,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "legend.frameon": False,
    "patch.linewidth": 0,
    "figure.autolayout": False,
}
SVG = "{http://www.w3.org/2000/svg}"
ELEMENTS = {"svg", "g", "path", "text", "tspan", "use", "defs", "clipPath", "rect", "title"}
KEPT = {
    "viewBox",
    "d",
    "x",
    "y",
    "width",
    "height",
    "transform",
    "id",
    "clip-path",
    "fill",
    "fill-opacity",
    "fill-rule",
    "stroke",
    "stroke-width",
    "stroke-opacity",
    "stroke-dasharray",
    "stroke-dashoffset",
    "stroke-linecap",
    "stroke-linejoin",
    "opacity",
    "font-size",
    "font-weight",
    "text-anchor",
    "data-tip",
}
HREF = "{http://www.w3.org/1999/xlink}href"


class Mark(NamedTuple):
    """An entry of a picture's key: a dot, or a piece of line where it has a dash or is paler."""

    colour: str
    """Its name."""
    meaning: str
    opacity: float = 1.0
    dash: tuple[float, ...] = ()


class Canvas:
    """A figure in the making: `with Canvas() as axes`, then `svg`."""

    def __init__(self, label: str, height: float = HEIGHT, width: float = WIDTH) -> None:
        self.label = label
        self.figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(self.figure)
        self.tips: dict[str, str] = {}
        self.key: list[Mark] = []

    def tip(self, artist: Any, text: str) -> None:
        """The text of a mark that is touched or pointed at."""
        name = f"tip{len(self.tips)}"
        artist.set_gid(name)
        self.tips[name] = text

    def svg(self, scope: str) -> Markup:
        """`scope` tells its ids from those of other pictures of the page."""
        sink = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # signs that matplotlib's font lacks; the page's fonts draw them
            self.figure.savefig(sink, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        return themed(sink.getvalue(), scope, self.label, self.tips)


def styled() -> Any:
    """A context in which figures are made and drawn."""
    return mpl.rc_context(STYLE)


def themed(picture: bytes, scope: str, label: str, tips: dict[str, str] | None = None) -> Markup:
    """An SVG as the page has it inline."""
    root = ET.fromstring(picture)
    _clean(root, scope, tips or {})
    root.attrib = {"viewBox": root.get("viewBox", ""), "role": "img", "aria-label": label}
    return Markup(ET.tostring(root, encoding="unicode"))


def _clean(element: ET.Element, scope: str, tips: dict[str, str]) -> None:
    element.tag = element.tag.removeprefix(SVG)  # HTML knows its drawings without namespaces
    for child in list(element):
        if isinstance(child.tag, str) and child.tag.removeprefix(SVG) in ELEMENTS:
            _clean(child, scope, tips)
        else:
            element.remove(child)
    found = {name: value for name, value in element.attrib.items() if name != "style"}
    for declaration in (element.get("style") or "").split(";"):
        name, _, value = declaration.partition(":")
        if name.strip() == "font":
            found["font-size"] = (re.findall(r"([\d.]+)px", value) or ["12"])[0]
        elif name.strip():
            found[name.strip()] = value.strip()
    kept = {name: _value(value, scope) for name, value in found.items() if name in KEPT and name != "id"}
    if (address := found.get(HREF, "")).startswith("#"):
        kept["href"] = f"#{scope}-{address[1:]}"
    if (own := found.get("id")) and element.tag in ("path", "clipPath"):  # the only ones that are referred to
        kept["id"] = f"{scope}-{own}"
    if own in tips:
        kept["data-tip"] = tips[own]
        ET.SubElement(element, "title").text = tips[own]
    element.attrib = kept


def _value(value: str, scope: str) -> str:
    if (name := NAMES.get(value)) is not None:
        return f"var(--{name})"
    return value.replace("url(#", f"url(#{scope}-")
