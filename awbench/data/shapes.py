"""Procedural shapes: a small detection set in COCO's layout that any machine makes for itself.

Disks, rings, squares, triangles, crosses and stars, turned, squeezed, partly hidden or cut by the frame, on
textured backgrounds among blobs and lines that are no category. An image derives from (seed, split, index)
alone; its pixels come from additions, multiplications and uniform draws, not from a machine's mathematical library.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import json
import math
import os
import secrets
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from awbench.cache import cache_directory
from awbench.data.coco import annotation_path, image_folder
from awbench.errors import UserError

VERSION = 1  # of the pictures: counts up with every change that moves a pixel or a box
SEED, TRAIN_IMAGES, VAL_IMAGES, WIDTH, HEIGHT = 0, 480, 160, 256, 192

# Square root of an object's area in pixels. COCO's bounds are 32 and 96; what is hidden may move it down a class.
_SIDES = ((10.0, 30.0), (35.0, 92.0), (99.0, 124.0))
_SIDE_SHARES = (0.37, 0.29, 0.34)
_COUNT_SHARES = (0.04, 0.13, 0.17, 0.18, 0.16, 0.13, 0.09, 0.06, 0.04)  # of images with 0, 1, ... 8 objects
_LEAST_VISIBLE = 0.25  # of an object's area; one that is hidden more is not drawn at all
_LEAST_CONTRAST = 60  # of 255, in at least one channel, to what lies below
_SUPERSAMPLING = 3
_STALE_SECONDS = 86_400

_ARM = math.sqrt(0.1)  # half the width of a cross's arm: its corners (a, 3a) lie at distance 1


def _square(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.maximum(abs(u), abs(v)) <= math.sqrt(0.5)


def _ring(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    squared = u * u + v * v
    return (squared <= 1) & (squared >= 0.3)


def _cross(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    u, v = abs(u), abs(v)
    return (np.minimum(u, v) <= _ARM) & (np.maximum(u, v) <= 3 * _ARM)


def _lines_passed(u: np.ndarray, v: np.ndarray, lines: int, distance: float) -> np.ndarray:
    """How many of the sides of a regular polygon, prolonged to lines, a point lies beyond."""
    passed = np.zeros(u.shape, dtype=np.uint8)
    for line in range(lines):
        angle = 2 * math.pi * line / lines
        passed += u * math.cos(angle) + v * math.sin(angle) > distance
    return passed


@dataclass(frozen=True)
class _Shape:
    """A category: its name, which (u, v) it covers in units of its circumradius, and its area in those units."""

    name: str
    covers: Callable[[np.ndarray, np.ndarray], np.ndarray]
    area: float


_COS72, _TAN36 = math.cos(math.radians(72)), math.tan(math.radians(36))
_SHAPES = {  # ids with gaps, as COCO's: no code may take an id for an index
    1: _Shape("disk", lambda u, v: u * u + v * v <= 1, math.pi),
    2: _Shape("ring", _ring, 0.7 * math.pi),
    3: _Shape("square", _square, 2.0),
    5: _Shape("triangle", lambda u, v: _lines_passed(u, v, 3, 0.5) == 0, 0.75 * math.sqrt(3)),
    8: _Shape("cross", _cross, 20 * _ARM**2),
    # Each tip of a pentagram lies beyond one side of its inner pentagon.
    13: _Shape("star", lambda u, v: _lines_passed(u, v, 5, _COS72) <= 1, 5 * _COS72 * _TAN36),
}
CATEGORIES = {category: shape.name for category, shape in _SHAPES.items()}


@dataclass(frozen=True)
class _Object:
    """One shape in an image: (x, y), radius in pixels; angle in radians; u is squeezed and v stretched as much."""

    category: int
    x: float
    y: float
    radius: float
    angle: float
    squeeze: float

    @property
    def area(self) -> float:
        """Without anything in front of it, also outside the frame, in pixels."""
        return _SHAPES[self.category].area * self.radius**2

    def window(self, width: int, height: int) -> tuple[slice, slice]:
        """The rows and columns it can cover."""
        reach = self.radius * max(self.squeeze, 1 / self.squeeze) + 1
        rows = slice(max(0, math.floor(self.y - reach)), min(height, math.ceil(self.y + reach)))
        return rows, slice(max(0, math.floor(self.x - reach)), min(width, math.ceil(self.x + reach)))

    def coordinates(self, window: tuple[slice, slice], samples: int) -> tuple[np.ndarray, np.ndarray]:
        """Its own (u, v) of the window's pixels, at `samples` points along each side of a pixel."""
        y, x = (
            ((np.arange(part.start * samples, part.stop * samples) + 0.5) / samples - centre).astype(np.float32)
            for part, centre in zip(window, (self.y, self.x), strict=True)
        )
        cos, sin = math.cos(self.angle) / self.radius, math.sin(self.angle) / self.radius
        u = (x * cos)[None, :] + (y * sin)[:, None]
        v = (y * cos)[:, None] - (x * sin)[None, :]
        return u * self.squeeze, v / self.squeeze

    def coverage(self, window: tuple[slice, slice]) -> np.ndarray:
        """How much of each of the window's pixels it covers, 0..1."""
        inside = _SHAPES[self.category].covers(*self.coordinates(window, _SUPERSAMPLING))
        rows, columns = (size // _SUPERSAMPLING for size in inside.shape)
        cells = inside.reshape(rows, _SUPERSAMPLING, columns, _SUPERSAMPLING)
        return cells.sum(axis=(1, 3), dtype=np.uint8).astype(np.float32) / _SUPERSAMPLING**2


def draw(rng: np.random.Generator, width: int, height: int) -> tuple[np.ndarray, list[tuple[int, list[int], int]]]:
    """One picture.

    Returns:
        (height, width, 3) bytes; and for each object its category id, the box [x, y, width, height] of what is
        visible of it, and the number of its visible pixels.
    """
    planned = _plan(rng, width, height)
    windows = [thing.window(width, height) for thing in planned]
    coverages = [thing.coverage(window) for thing, window in zip(planned, windows, strict=True)]
    front = _lines(rng, width, height, count=_pick(rng, (0.4, 0.3, 0.2, 0.1)))

    def visible(indices: Sequence[int]) -> list[np.ndarray]:
        """The pixels of each object that nothing later covers by half."""
        owner = np.full((height, width), -1)
        for index in indices:
            owner[windows[index]][coverages[index] >= 0.5] = index
        owner[front >= 0.5] = -1
        return [owner == index for index in indices]

    everything = range(len(planned))
    kept = [
        index
        for index, pixels in zip(everything, visible(everything), strict=True)
        if pixels.sum() >= _LEAST_VISIBLE * planned[index].area
    ]
    canvas = _background(rng, width, height)
    for index in kept:
        below, coverage = canvas[windows[index]], coverages[index][..., None]
        below += coverage * (_fill(rng, planned[index], windows[index], coverage, below) - below)
    canvas += front[..., None] * (_colour(rng) - canvas)
    canvas += rng.integers(-4, 5, (height, width, 1))  # grain, grey: it costs a PNG least
    objects = [
        (planned[index].category, _box(pixels), int(pixels.sum()))
        for index, pixels in zip(kept, visible(kept), strict=True)
    ]
    return np.floor(canvas.clip(0, 255) + 0.5).astype(np.uint8), objects


def _plan(rng: np.random.Generator, width: int, height: int) -> list[_Object]:
    """The objects of a picture, from back to front: mostly the large ones at the back, so that small ones are seen."""
    planned = []
    for _ in range(_pick(rng, _COUNT_SHARES)):
        category = list(_SHAPES)[rng.integers(len(_SHAPES))]
        side = rng.uniform(*_SIDES[_pick(rng, _SIDE_SHARES)])
        radius = min(side / math.sqrt(_SHAPES[category].area), 0.56 * min(width, height))
        x, y = (_place(rng, size, 0.8 * radius) for size in (width, height))
        thing = _Object(category, x, y, radius, rng.uniform(0, 2 * math.pi), rng.uniform(0.85, 1.18))
        planned.append((radius * rng.uniform(0.6, 1.4), thing))
    return [thing for _, thing in sorted(planned, key=lambda pair: -pair[0])]


def _place(rng: np.random.Generator, size: int, margin: float) -> float:
    """A centre along one side of the frame; an object too large for the margin stays near the middle."""
    margin = min(margin, 0.45 * size)
    return rng.uniform(margin, size - margin)


def _background(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """(height, width, 3) float32: a colour with shades and a texture, behind blobs and lines."""
    canvas = _colour(rng) + rng.uniform(10, 70) * _noise(rng, width, height, 80, channels=3)
    if rng.random() < 0.5:
        canvas += rng.uniform(8, 30) * _stripes(rng, width, height)[..., None]
    canvas += rng.uniform(4, 30) * _noise(rng, width, height, int(rng.integers(4, 16)))
    for _ in range(rng.integers(1, 6)):
        canvas += _blob(rng, width, height)[..., None] * (_colour(rng) - canvas)
    for _ in range(rng.integers(0, 3)):
        canvas += _lines(rng, width, height, int(rng.integers(1, 4)))[..., None] * (_colour(rng) - canvas)
    return canvas


def _fill(
    rng: np.random.Generator, thing: _Object, window: tuple[slice, slice], coverage: np.ndarray, below: np.ndarray
) -> np.ndarray:
    """The window's (h, w, 3) pixels were they all inside: a colour that stands out from below, and a texture."""
    mean = (below * coverage).sum(axis=(0, 1), dtype=np.float64) / coverage.sum(dtype=np.float64)
    colour = _colour(rng)
    while abs(colour - mean).max() < _LEAST_CONTRAST:
        colour = _colour(rng)
    rows, columns = coverage.shape[:2]
    texture = rng.integers(4)
    strength = rng.uniform(10, 40)
    u, v = thing.coordinates(window, 1)
    if texture == 0:
        pattern = np.zeros_like(u)
    elif texture == 1:
        pattern = u
    elif texture == 2:
        phase = (u * rng.uniform(-2, 2) + v * rng.uniform(1, 2)) * 1.5
        pattern = np.where(phase - np.floor(phase) < 0.5, -1, 1)
    else:
        pattern = _noise(rng, columns, rows, max(3, thing.radius / 3))[..., 0]
    return colour + np.float32(strength) * pattern[..., None].astype(np.float32)


def _colour(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(20, 235, 3).astype(np.float32)


def _noise(rng: np.random.Generator, width: int, height: int, cell: float, channels: int = 1) -> np.ndarray:
    """(height, width, channels) float32 in -1..1, smooth over `cell` pixels: random values, interpolated linearly."""
    y, x = ((np.arange(size) / cell).astype(np.float32) for size in (height, width))
    grid = rng.uniform(-1, 1, (int(y[-1]) + 2, int(x[-1]) + 2, channels)).astype(np.float32)
    row, column = y.astype(int), x.astype(int)
    grid = grid[row] + (y - row).astype(np.float32)[:, None, None] * (grid[row + 1] - grid[row])
    weight = (x - column).astype(np.float32)[:, None]
    return grid[:, column] + weight * (grid[:, column + 1] - grid[:, column])


def _stripes(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """(height, width) of -1 and 1: parallel stripes of 3 to 25 pixels, in any direction."""
    angle, period = rng.uniform(0, math.pi), rng.uniform(6, 50)
    phase = (np.arange(width) * (math.cos(angle) / period))[None, :]
    phase = phase + (np.arange(height) * (math.sin(angle) / period))[:, None] + rng.random()
    return np.where(phase - np.floor(phase) < 0.5, np.float32(-1), np.float32(1))


def _blob(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """(height, width) coverage of a winding, rounded band, so long that nobody takes it for a disk."""
    x, y, size = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(4, 20)
    angle = rng.uniform(0, 2 * math.pi)
    field = np.zeros((height, width), dtype=np.float32)
    for _ in range(rng.integers(4, 8)):
        squared = ((np.arange(width) - x) ** 2)[None, :] + ((np.arange(height) - y) ** 2)[:, None]
        field += (size * size / (squared + 1)).astype(np.float32)
        angle += rng.uniform(-1, 1)
        x, y = x + 1.3 * size * math.cos(angle), y + 1.3 * size * math.sin(angle)
    return ((field - 2) * (size / 4)).clip(0, 1)


def _lines(rng: np.random.Generator, width: int, height: int, count: int) -> np.ndarray:
    """(height, width) coverage of straight line segments."""
    coverage = np.zeros((height, width), dtype=np.float32)
    for _ in range(count):
        x1, x2 = rng.uniform(0, width, 2)
        y1, y2 = rng.uniform(0, height, 2)
        thickness = rng.uniform(1, 3.5)
        x, y = (np.arange(width) - x1)[None, :], (np.arange(height) - y1)[:, None]
        dx, dy = x2 - x1, y2 - y1
        along = ((x * dx + y * dy) / (dx * dx + dy * dy)).clip(0, 1)
        distance = np.sqrt((x - along * dx) ** 2 + (y - along * dy) ** 2)
        coverage = np.maximum(coverage, (thickness / 2 + 0.5 - distance).clip(0, 1).astype(np.float32))
    return coverage


def _pick(rng: np.random.Generator, shares: Sequence[float]) -> int:
    """An index, each as often as its share says."""
    return int(np.searchsorted(np.cumsum(shares)[:-1], rng.random(), side="right"))


def _box(pixels: np.ndarray) -> list[int]:
    """[x, y, width, height] around what is true."""
    columns, rows = np.flatnonzero(pixels.any(axis=0)), np.flatnonzero(pixels.any(axis=1))
    x, y = int(columns[0]), int(rows[0])
    return [x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1]


def default_shapes_directory() -> Path:
    """The default set's folder in the user's cache.

    Raises:
        UserError: there is no cache folder.
    """
    return cache_directory() / f"shapes-v{VERSION}-seed{SEED}-train{TRAIN_IMAGES}-val{VAL_IMAGES}-{WIDTH}x{HEIGHT}"


def provide_shapes(directory: Path) -> None:
    """Make the default set in a folder that is empty or does not exist; leave any other as it is.

    Raises:
        UserError: it cannot be made there.
    """
    if not _is_occupied(directory):
        _write_whole(directory, SEED, {"train": TRAIN_IMAGES, "val": VAL_IMAGES}, WIDTH, HEIGHT)


def write_shapes(
    directory: Path,
    *,
    seed: int = SEED,
    train_images: int = TRAIN_IMAGES,
    val_images: int = VAL_IMAGES,
    width: int = WIDTH,
    height: int = HEIGHT,
) -> None:
    """Make a set of procedural shapes in COCO 2017's layout, whole or not at all.

    Args:
        directory: a folder that is empty or does not exist.
        seed: of everything.
        train_images, val_images: how many.
        width, height: of each image in pixels, at least 32.

    Raises:
        UserError: the folder is not empty or cannot be written, or there is nothing to draw.
    """
    if min(train_images, val_images) < 1 or min(width, height) < 32:
        asked = f"{train_images} training and {val_images} validation images of {width}x{height}"
        raise UserError(f"{asked} cannot be drawn; give at least one of each, of at least 32x32 pixels")
    if _is_occupied(directory):
        raise UserError(f"{directory} is not an empty folder; name one that is empty or does not exist")
    _write_whole(directory, seed, {"train": train_images, "val": val_images}, width, height)


def _is_occupied(directory: Path) -> bool:
    return directory.exists() and not (directory.is_dir() and not any(directory.iterdir()))


def _write_whole(directory: Path, seed: int, counts: dict[str, int], width: int, height: int) -> None:
    """Write beside the folder, then take its name: a killed process leaves nothing under that name."""
    directory = directory.resolve()  # a link cannot be replaced by a folder
    _remove_stale(directory)
    temporary = directory.with_name(f".{directory.name}.{os.getpid()}-{secrets.token_hex(4)}.partial")
    try:
        temporary.mkdir(parents=True)
        for split, count in counts.items():
            _write_split(temporary, split, seed, count, width, height)
        try:
            temporary.rename(directory)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            # Another process was faster. The same seed gives the same files; anything else is not what was asked for.
            for split in counts:
                made, found = (annotation_path(folder, split) for folder in (temporary, directory))
                if not found.is_file() or found.read_bytes() != made.read_bytes():
                    raise UserError(f"{directory} was filled with something else meanwhile; name another") from None
    except OSError as error:
        raise UserError(
            f"procedural shapes cannot be written to {directory} ({error.strerror or error}); "
            "name another folder, one that does not exist yet"
        ) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _remove_stale(directory: Path) -> None:
    """Remove what killed processes left behind; only what is a day old, for others may be at work."""
    for temporary in directory.parent.glob(f".{glob.escape(directory.name)}.*.partial"):
        with contextlib.suppress(OSError):  # its own process, or another like this one, may be removing it
            if time.time() - temporary.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(temporary, ignore_errors=True)


def _write_split(directory: Path, split: str, seed: int, count: int, width: int, height: int) -> None:
    from awbench.data.views import derive_seed  # with torch, which a set that is there already does not need

    folder, path = image_folder(directory, split), annotation_path(directory, split)
    folder.mkdir()
    path.parent.mkdir(exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index in range(count):
        rng = np.random.Generator(np.random.PCG64(derive_seed("shapes", VERSION, seed, split, index)))
        pixels, objects = draw(rng, width, height)
        image_id = 3 * index + (1 if split == "train" else 2)  # as in COCO, no index, and no id in both splits
        name = f"{image_id:012}.png"
        Image.fromarray(pixels).save(folder / name, compress_level=1)  # a quarter of the time, 7 % more bytes
        images.append({"id": image_id, "file_name": name, "width": width, "height": height})
        for category, box, area in objects:
            annotation = {"id": len(annotations) + 1, "image_id": image_id, "category_id": category}
            annotations.append(annotation | {"bbox": box, "area": area, "iscrowd": 0})
    truth = {
        "info": {"description": "awbench procedural shapes", "version": str(VERSION), "seed": seed},
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": [{"id": key, "name": name, "supercategory": "shape"} for key, name in CATEGORIES.items()],
    }
    path.write_text(json.dumps(truth, separators=(",", ":")))
