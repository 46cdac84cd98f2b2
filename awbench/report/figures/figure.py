"""What every figure shares: style, the text behind each datum, and its file formats."""

from __future__ import annotations

import colorsys
import io
import re
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree

import matplotlib
import matplotlib.colors
from matplotlib.figure import Figure as Drawing

from awbench.report.names import setting_title
from awbench.text import visible
from awbench.variants import list_settings

_LETTERS = 50  # of a legend, side by side
WIDTH_INCHES = 3.75  # a phone's width: its letters of 9 points are 11 pixels there, and larger in a wider column
_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
# Okabe and Ito's colours, told apart with any colour vision; the last two settings have darker yellow and black.
_GOLDEN = 0.618034  # of the circle of hues: any number of steps of it lie apart
# The rest in every figure: letters and axes, lines that guide the eye, areas behind data.
INK, SOFT, BAND, PAPER = "#1d242b", "#6e7781", "#dfe7ee", "#ffffff"
COLOURS = ("#6b6b6b", "#E69F00", "#56B4E9", "#009E73", "#D55E00", "#CC79A7", "#0072B2", "#A08A00")
_HASHED, _REFERENCE = re.compile("[a-z][0-9a-f]{10}"), re.compile(r"url\(#([^)]+)\)")
_COLOUR, _FONT = re.compile("#([0-9a-f]{6})"), re.compile("font-family: [^;]*; ?")
# Same records, same bytes: no date, no random ids.
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "awbench",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": SOFT,
    "axes.labelsize": 9,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "legend.frameon": False,
    "text.parse_math": False,  # labels are text: a dollar is a dollar
    "legend.fontsize": 9,
    "legend.handlelength": 1.2,
    "legend.columnspacing": 1.2,
}


def colour_of(setting: str) -> str:
    """Of an attention setting ("aw_se"), the same in every figure."""
    return colour_at(list_settings().index(setting))


def colour_at(place: int) -> str:
    """Each place has its own, however many there are."""
    if place < len(COLOURS):
        return COLOURS[place]
    further = place - len(COLOURS)
    hue, value = (0.13 + further * _GOLDEN) % 1, (0.62, 0.45, 0.78)[further % 3]
    return matplotlib.colors.to_hex(colorsys.hsv_to_rgb(hue, 0.75, value))


# A record's option may be any text, and matplotlib writes it as it is.
_NOT_IN_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass
class Figure:
    """A drawing, and what each of its data stands for.

    Attributes:
        name: of its file, without extension.
        title: what it shows.
        caption: how to read it, and what it is no evidence of.
        drawing: matplotlib's figure.
        data: what is drawn by its id -> where the number comes from, as text; `describe` adds one.
    """

    name: str
    title: str
    caption: str
    drawing: Drawing
    data: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # It becomes a file's name and part of ids; a recipe of the user's may be called anything.
        self.name = re.sub(r"[^A-Za-z0-9-]+", "-", self.name).strip("-")
        self.title, self.caption = visible(self.title), visible(self.caption)

    def describe(self, artist: Any, text: str) -> None:
        """Give what was drawn its text: shown when the pointer rests on it."""
        identity = f"mark-{len(self.data) + 1}"
        artist.set_gid(identity)
        self.data[identity] = visible(text)

    def add_legend(self, handles: dict[str, Any]) -> None:
        """Attention settings and their colours below the axes, in the order of the grid."""
        self.add_labels({setting_title(setting): handles[setting] for setting in list_settings() if setting in handles})

    def add_labels(self, handles: dict[str, Any]) -> None:
        """A legend below the axes; as many columns as its longest label leaves room for."""
        columns = max(1, min(4, _LETTERS // (max(map(len, handles), default=0) + 4)))
        titles = [textwrap.fill(label, _LETTERS - 4) for label in handles]
        self.drawing.legend(list(handles.values()), titles, loc="outside lower center", ncols=columns)

    def to_bytes(self, format: str) -> bytes:
        """A file's content; `format` is "svg" or "png"."""
        if format == "svg":
            tree = self._svg_tree(text_as_paths=True)
            return ElementTree.tostring(tree, encoding="utf-8", xml_declaration=True)
        return self._save(format)

    def to_inline_svg(self) -> str:
        """An <svg> element for a page: text stays text, and no id is shared with another figure's.

        A colour is a variable with itself as what holds where the page sets none, e.g. var(--c-0072b2, #0072b2).
        """
        root = self._svg_tree(text_as_paths=False)
        _rename(root, lambda name: f"{self.name}-{name}")
        for element in root.iter():
            if style := element.get("style"):
                element.set(
                    "style", _COLOUR.sub(r"var(--c-\1, #\1)", _FONT.sub("", style))
                )  # the page has its own font
        root.set("role", "img")
        root.set("aria-label", f"{self.title}. {self.caption}")
        width, height = (root.attrib.pop(side) for side in ("width", "height"))
        root.set("style", f"aspect-ratio: {_points(width)} / {_points(height)}")
        return ElementTree.tostring(root, encoding="unicode")

    def _svg_tree(self, text_as_paths: bool) -> ElementTree.Element:
        for prefix, address in (("", _SVG), ("xlink", _XLINK)):
            ElementTree.register_namespace(prefix, address)
        with matplotlib.rc_context({"svg.fonttype": "path" if text_as_paths else "none"}):
            written = _NOT_IN_XML.sub(lambda found: visible(found[0]), self._save("svg").decode())
            root = ElementTree.fromstring(written)
        # Made of coordinates, whose last bits differ from run to run.
        hashed = [str(element.get("id")) for element in root.iter() if _HASHED.fullmatch(element.get("id", ""))]
        numbers = {name: f"{name[0]}{number}" for number, name in enumerate(dict.fromkeys(hashed), 1)}
        _rename(root, lambda name: numbers.get(name, name))
        for metadata in root.findall(f"{{{_SVG}}}metadata"):
            root.remove(metadata)
        for styles in root.iter(f"{{{_SVG}}}style"):
            styles.attrib.pop("type", None)  # of no use since HTML5
        for element in root.iter(f"{{{_SVG}}}g"):
            text = self.data.get(element.get("id", ""))
            if text:
                title = ElementTree.Element(f"{{{_SVG}}}title")
                title.text = text
                element.insert(0, title)
        return root

    def _save(self, format: str) -> bytes:
        buffer = io.BytesIO()
        with matplotlib.rc_context(_STYLE):
            metadata = {"Date": None} if format == "svg" else None
            self.drawing.savefig(buffer, format=format, dpi=200, metadata=metadata)
        self.drawing.set_layout_engine("none")  # laid out once: it takes as long as all else
        return buffer.getvalue()


@contextmanager
def new_figure(name: str, title: str, caption: str, height_inches: float) -> Iterator[Figure]:
    """A figure to draw, in the project's style."""
    with matplotlib.rc_context(_STYLE):
        yield Figure(name, title, caption, Drawing(figsize=(WIDTH_INCHES, height_inches), layout="constrained"))


def _rename(root: ElementTree.Element, renamed: Callable[[str], str]) -> None:
    """Change every id, and what refers to it."""
    for element in root.iter():
        for name, value in element.attrib.items():
            if name == "id":
                element.set(name, renamed(value))
            elif name == f"{{{_XLINK}}}href" and value.startswith("#"):
                element.set(name, f"#{renamed(value[1:])}")
            elif "url(#" in value:
                element.set(name, _REFERENCE.sub(lambda match: f"url(#{renamed(match[1])})", value))


def _points(length: str) -> str:
    return re.sub(r"[a-z]+$", "", length)
