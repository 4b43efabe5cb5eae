"""Arrays in temporary files, for the sources of boxes that no page displays."""

from __future__ import annotations

from tempfile import TemporaryFile
from weakref import WeakValueDictionary, ref

import numpy as np

from napari_colorize.array_types import AnyArray

MAX_BYTES = 2**29  # of an array that is written: less than a second


class ArrayFile:
    """Copy of an array in a temporary file, which is read when its values are used.

    Attributes
    ----------
    array : ndarray
        The copy; of the same shape and dtype. The file is deleted with it.
    """

    def __init__(self, array: AnyArray) -> None:
        self.original = ref(array)
        with TemporaryFile() as file:
            array.tofile(file)
            # Changes are private. Not a memmap: those are read plane by plane, as lazy arrays are.
            self.array = np.asarray(np.memmap(file, array.dtype, "c", shape=array.shape))


_files: WeakValueDictionary[int, ArrayFile] = WeakValueDictionary()  # by id of the original


def array_file(source: object) -> ArrayFile | None:
    """The file of an array, one for all boxes with this array; None if it cannot be written."""
    if type(source) is not np.ndarray or source.dtype.hasobject or source.nbytes > MAX_BYTES:
        return None
    found = _files.get(id(source))
    # An array that was changed in place since then needs a file of its own.
    if found is None or found.original() is not source or not np.array_equal(found.array, source):
        try:
            found = _files[id(source)] = ArrayFile(source)
        except OSError:  # no space is left
            return None
    return found
