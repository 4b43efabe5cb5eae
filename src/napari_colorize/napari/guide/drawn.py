"""What was drawn where, told at once: one dot need not colorize a whole stack anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from operator import is_
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Points, Shapes

from napari_colorize.napari.guide.scribbles import SLICE

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_colorize.napari.guide.grid import Grid
    from napari_colorize.napari.guide.reading import Role
    from napari_colorize.napari.parts import Floats


@dataclass(frozen=True, eq=False)
class Drawn:
    """What the layers hold by now, as far as that is quickly told.

    Numbers are painted into arrays: they are told from others only by the array.

    Parameters
    ----------
    hints : Layer or None
        With dots or shapes.
    strokes : dict
        All that tells one of them from another, and its lowest and highest place along the axes
        before the last two.
    frame : bytes
        Where that layer is in the world.
    shared : tuple
        Values that hold for all planes.
    arrays : tuple
        Objects that do.
    """

    hints: Points | Shapes | None = None
    strokes: dict[bytes, tuple[Floats, Floats]] = field(default_factory=dict, repr=False)
    frame: bytes = b""
    shared: tuple[Any, ...] = ()
    arrays: tuple[Any, ...] = field(default=(), repr=False)

    def is_same_but_at(self, grid: Grid, other: Drawn) -> bool:
        """Whether nothing differs anywhere but in a grid's plane."""
        if self.shared != other.shared or len(self.arrays) != len(other.arrays):
            return False
        if not all(map(is_, self.arrays, other.arrays)):
            return False
        hints = self.hints or other.hints
        if hints is None:
            return True
        if self.strokes and other.strokes and self.frame != other.frame:
            return False
        place, all_strokes = grid.place(hints), {**self.strokes, **other.strokes}
        return all(
            np.all((low - SLICE <= place) & (place <= high + SLICE))
            for low, high in (
                all_strokes[each] for each in self.strokes.keys() ^ other.strokes.keys()
            )
        )


def drawn_in(layers: Mapping[Role, Layer], grid: Grid) -> Drawn:
    """What lies in layers that have roles, seen from a grid's source."""
    outside = grid.point[: -grid.layer.ndim].tolist()
    shared: list[Any] = [_frame(grid.layer), *outside]
    arrays: list[Any] = []
    hints = layers.get("hints")
    for role, layer in sorted(layers.items()):
        if layer is not hints or not isinstance(hints, Points | Shapes):
            shared += [role, _frame(layer)]
            arrays += [layer, *_arrays(layer)]
    if not isinstance(hints, Points | Shapes):
        return Drawn(None, {}, b"", tuple(shared), tuple(arrays))
    strokes = dict(_dots(hints) if isinstance(hints, Points) else _shapes(hints))
    return Drawn(hints, strokes, _frame(hints), tuple(shared), tuple(arrays))


def _dots(layer: Points) -> Iterator[tuple[bytes, tuple[Floats, Floats]]]:
    data = np.asarray(layer.data, float)
    told = [data, layer.face_color, np.reshape(layer.size, (-1, 1)), layer.shown[:, None]]
    for dot, row in zip(data, np.concatenate(told, axis=1, dtype=float), strict=True):
        yield row.tobytes(), (dot[:-2], dot[:-2])


def _shapes(layer: Shapes) -> Iterator[tuple[bytes, tuple[Floats, Floats]]]:
    for index, corners in enumerate(layer.data):
        widths = layer.edge_width[index], layer.z_index[index]
        told = [
            np.ravel(np.asarray(each, float))
            for each in (corners, layer.face_color[index], layer.edge_color[index], widths)
        ]
        before = np.rint(np.asarray(corners, float)[:, :-2])
        key = np.concatenate(told).tobytes() + str(layer.shape_type[index]).encode()
        yield key, (before.min(axis=0), before.max(axis=0))


def _arrays(layer: Any) -> tuple[Any, ...]:
    data = tuple(layer.data) if layer.multiscale else (layer.data,)
    return *data, getattr(layer, "colormap", None)


def _frame(layer: Layer) -> bytes:
    """Where a layer is in the world."""
    parts = (layer.scale, layer.translate, layer.rotate, layer.shear, layer.affine.affine_matrix)
    numbers = np.concatenate([np.ravel(np.asarray(part, float)) for part in parts])
    return numbers.tobytes() + str(layer.units).encode()
