"""Messages of file libraries become a note; those of other threads and programs are shown."""

from __future__ import annotations

import logging
import struct
import subprocess
import sys
import threading
import warnings

import numpy as np
import tifffile

from napari_colorize.io import decoder_messages
from napari_colorize.io.images import read_image


def tiff_with_a_damaged_tag(path):
    tifffile.imwrite(path, np.zeros((4, 5), np.uint8), photometric="minisblack", software="here")
    content = bytearray(path.read_bytes())
    place = content.index(struct.pack("<HH", 305, 2))
    content[place + 8 : place + 12] = struct.pack("<I", 2**31)  # beyond the file
    path.write_bytes(content)
    return path


def test_a_damaged_tag_is_a_note(tmp_path, caplog):
    record = read_image(tiff_with_a_damaged_tag(tmp_path / "a.tif"))
    assert record.notes == (decoder_messages.NOTE,)
    assert not caplog.records


def test_nothing_reaches_the_terminal_not_even_for_the_first_file(tmp_path):
    path = tiff_with_a_damaged_tag(tmp_path / "a.tif")
    code = "import sys; from napari_colorize.io.images import read_image; read_image(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""


def test_warnings_are_collected_in_this_thread_only(recwarn):
    def warn_elsewhere():
        warnings.warn("elsewhere", UserWarning, stacklevel=1)
        logging.getLogger("tifffile").warning("elsewhere")

    other = threading.Thread(target=warn_elsewhere)
    with decoder_messages.collected() as messages:
        warnings.warn("here", UserWarning, stacklevel=1)
        logging.getLogger("tifffile").warning("here too")
        logging.getLogger("tifffile").info("not worth a note")
        other.start()
        other.join()
    assert messages == ["here", "here too"]
    assert [str(warning.message) for warning in recwarn] == ["elsewhere"]


def test_afterwards_warnings_are_shown_again(recwarn, caplog):
    with decoder_messages.collected():
        pass
    warnings.warn("here", UserWarning, stacklevel=1)
    logging.getLogger("tifffile").warning("here too")
    assert [str(warning.message) for warning in recwarn] == ["here"]
    assert caplog.messages == ["here too"]
