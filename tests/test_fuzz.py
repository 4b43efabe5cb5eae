"""A few seconds of `tools/fuzz.py`: damaged files of every format raise only a ColorizeError."""

from __future__ import annotations

import importlib.util
import json
import random
import sys
import warnings
from pathlib import Path

import pytest

from napari_colorize.errors import ColorizeError

TOOL = Path(__file__).parents[1] / "tools" / "fuzz.py"
CASES = 6  # of each sample

spec = importlib.util.spec_from_file_location("fuzz", TOOL)
assert spec is not None
assert spec.loader is not None
fuzz = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fuzz)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("napari_colorize_training")
    folder = tmp_path_factory.mktemp("samples")
    with warnings.catch_warnings(action="ignore"):
        fuzz.make_samples(folder)
    return folder


@pytest.mark.parametrize("suffix", fuzz.READERS)
@pytest.mark.filterwarnings("ignore")
def test_damaged_files_raise_only_colorize_errors(
    samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    originals = [path for path in sorted(samples.iterdir()) if fuzz.suffix_of(path.name) == suffix]
    if not originals:
        pytest.skip("the library of this format is missing")
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # writes in a thread
    choose = random.Random(1)
    for original in originals:
        for number in range(CASES):
            folder = tmp_path / f"{original.name}-{number}"
            folder.mkdir()
            path = folder / f"case{suffix}"
            path.write_bytes(fuzz.mutated(original.read_bytes(), choose))
            try:
                fuzz.READERS[suffix](path)
            except ColorizeError:
                pass
            except (json.JSONDecodeError, UnicodeDecodeError):  # of the program that calls
                if suffix != ".settings.json":
                    raise


def test_the_checksums_of_a_changed_png_are_valid(samples: Path) -> None:
    data = (samples / "a.png").read_bytes()
    assert fuzz.with_checksums(data) == data
    assert fuzz.with_checksums(data[:40] + bytes([data[40] ^ 1]) + data[41:]) != data
