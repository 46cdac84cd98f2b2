"""Colours of figures on a dark page: pale areas become dark ones, marks light enough to be told from the paper."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Iterable

DARK_PAPER = "#14181d"
_LEAST_CONTRAST = 4.5  # of a mark against the paper, as WCAG asks of text
_PALE = 0.8  # lightness from which a colour is an area's, not a mark's
_VARIABLE = re.compile(r"var\(--c-([0-9a-f]{6}),")


def dark_colours(svgs: Iterable[str]) -> str:
    """CSS: a value for each colour's variable (`Figure.to_inline_svg`) that the figures use."""
    found = sorted({colour for svg in svgs for colour in _VARIABLE.findall(svg)})
    return " ".join(f"--c-{colour}: {dark_of(f'#{colour}')};" for colour in found)


def dark_of(colour: str) -> str:
    """The colour of the same hue for the dark page."""
    red, green, blue = _parts(colour)
    hue, lightness, saturation = colorsys.rgb_to_hls(red, green, blue)
    if lightness == 1:
        return DARK_PAPER
    if lightness > _PALE:
        return _hex(colorsys.hls_to_rgb(hue, 1.1 - lightness, saturation * 0.6))
    if lightness < 0.2:  # ink
        return _hex(colorsys.hls_to_rgb(hue, 1 - lightness, saturation))
    while contrast(_hex(colorsys.hls_to_rgb(hue, lightness, saturation)), DARK_PAPER) < _LEAST_CONTRAST:
        lightness += 0.02
    return _hex(colorsys.hls_to_rgb(hue, lightness, saturation))


def contrast(first: str, second: str) -> float:
    """WCAG's contrast of two colours, from 1 to 21 (https://www.w3.org/TR/WCAG21/#dfn-contrast-ratio)."""
    darker, lighter = sorted(map(_luminance, (first, second)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in _parts(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _parts(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    return red, green, blue


def _hex(parts: tuple[float, float, float]) -> str:
    return "#" + "".join(f"{round(255 * part):02x}" for part in parts)
