"""A figure as SVG that stands inside a web page and takes the page's colours, in light and in dark."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from typing import Any
from xml.etree import ElementTree

from melogit.plots.canvas import ACCENT, GREY, GRID, INK, PALE, PAPER, SHADES

SVG = "http://www.w3.org/2000/svg"
LINK = "{http://www.w3.org/1999/xlink}href"

# The page may set these; where it does not, the colours are those of the printed figure.
VARIABLES = {
    INK: "ink",
    "#000000": "ink",
    ACCENT: "accent",
    PALE: "pale",
    GREY: "grey",
    GRID: "grid",
    PAPER: "paper",
    **{shade: f"shade-{k}" for k, shade in enumerate(SHADES) if k},
}
FONT = re.compile(r"font: ((?:[a-z]+ |\d+ )*)([\d.]+)px [^;]+")
NUMBER = re.compile(r"-?\d+\.\d{3,}")


def to_svg(figure: Any, title: str, alt: str) -> str:
    """Write a figure as an inline ``<svg>``.

    Texts stay text in the font of the page, colours become variables (``--picture-ink`` ...) with the printed colour
    as fallback, and identifiers are unique to the picture, so that many can stand in one page.

    Parameters
    ----------
    figure : matplotlib Figure
    title, alt : str
        The name of the picture, and what it shows for those who cannot see it.

    Returns
    -------
    str
    """
    import matplotlib

    sink = io.StringIO()
    salt = hashlib.sha256(f"{title}\n{alt}".encode()).hexdigest()[:8]
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}):
        figure.savefig(sink, format="svg", transparent=True, dpi=200, metadata={"Date": None, "Creator": None})
    root = ElementTree.fromstring(sink.getvalue())
    for parent in list(root.iter()):
        for child in [child for child in parent if child.tag in (f"{{{SVG}}}metadata", f"{{{SVG}}}style")]:
            parent.remove(child)  # matplotlib's one style rule would hold for the whole page
    root.set("style", "stroke-linejoin: round; stroke-linecap: butt")
    prefix = "p" + hashlib.sha256((sink.getvalue() + salt).encode()).hexdigest()[:8]
    for element in root.iter():
        _adapt(element, prefix)
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.set("role", "img")
    root.set("aria-label", alt)
    ElementTree.register_namespace("", SVG)
    text = ElementTree.tostring(root, encoding="unicode")
    return re.sub(r">\s+<", "><", text)


def _adapt(element: Any, prefix: str) -> None:
    """Identifiers, links, colours, fonts and the length of numbers of one element."""
    name = element.get("id")
    if name is not None:
        if element.tag == f"{{{SVG}}}g":
            del element.attrib["id"]  # matplotlib's names of parts, which nothing refers to
        else:
            element.set("id", f"{prefix}-{name}")
    if LINK in element.attrib:
        target = element.attrib.pop(LINK)
        element.set("href", f"#{prefix}-{target[1:]}" if target.startswith("#") else _smaller(target))
    for attribute in ("clip-path", "mask"):
        if attribute in element.attrib:
            element.set(attribute, element.get(attribute).replace("url(#", f"url(#{prefix}-"))
    style = element.get("style", "")
    if element.tag == f"{{{SVG}}}text" and "fill:" not in style:
        style += "; fill: #000000"  # matplotlib leaves black out, and black must turn with the page
    if style:
        style = FONT.sub(r"font: \1\2px var(--picture-font, sans-serif)", style)
        element.set("style", re.sub(r"#[0-9a-f]{6}\b", _variable, style))
    if "d" in element.attrib:
        short = NUMBER.sub(lambda found: f"{float(found[0]):.2f}", element.get("d"))
        element.set("d", " ".join(short.split()))
    for attribute in ("x", "y", "transform"):
        if attribute in element.attrib:
            value = element.get(attribute)
            element.set(attribute, NUMBER.sub(lambda found: f"{float(found[0]):.3f}", value))


def _smaller(image: str) -> str:
    """An image of points of one colour with 32 shades of it: a third of the bytes."""
    from PIL import Image  # which matplotlib needs as well

    head, _, content = image.partition(",")
    sink = io.BytesIO()
    Image.open(io.BytesIO(base64.b64decode(content))).quantize(32, Image.Quantize.FASTOCTREE).save(
        sink, "PNG", optimize=True
    )
    return f"{head},{base64.b64encode(sink.getvalue()).decode('ascii')}"


def _variable(colour: re.Match[str]) -> str:
    name = VARIABLES.get(colour[0])
    return colour[0] if name is None else f"var(--picture-{name}, {colour[0]})"
