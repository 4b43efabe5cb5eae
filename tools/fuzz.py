"""Feed damaged files to every reader; report what is no ColorizeError.

    python tools/fuzz.py [MINUTES] [--corpus FOLDER] [--seed NUMBER]

A small valid file of each format is made first. Then copies with changed, removed, repeated or
inserted bytes are read in a child process with limited memory. A file that raises another exception
than a ColorizeError, crashes or hangs the child is saved in the corpus, whose files are read first
by the next run. The exit code is 1 if there are any.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from napari_colorize.errors import ColorizeError

MEMORY = 4 * 10**9  # bytes of address space of a child, in addition to what it has
SECONDS = 120  # for one file; a child that takes longer is killed
CHILD_CASES = 2000  # files that one child reads
SPECIAL = [
    b"\xff" * 4,
    b"\0" * 4,
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\x80",
    b"-1",
    b"[" * 99,
]
CORPUS = Path(__file__).parents[1] / "tests" / "data" / "fuzz"


def read_images(path: Path) -> None:
    """Read pixels and provenance."""
    from napari_colorize.io.images import read_image, read_provenance

    with suppress(ColorizeError):
        read_provenance(path)
    read_image(path)


def read_video(path: Path) -> None:
    """Probe a video."""
    from napari_colorize.video.probe import probe

    probe(path)


def read_zarr(path: Path) -> None:
    """Open a zarr whose metadata are this file."""
    from napari_colorize.video.ome_zarr import open_zarr

    folder = path.with_suffix(".zarr")
    folder.mkdir(exist_ok=True)
    shutil.copy(path, folder / "zarr.json")
    open_zarr(folder, Fraction(25))


def read_checkpoint(path: Path) -> None:
    """Load a checkpoint, and its metadata as one of the user's models."""
    from napari_colorize import zoo

    with suppress(ColorizeError):
        zoo.user_checkpoint(path)
    zoo.load(path)


def read_recipe(path: Path) -> None:
    """Read a recipe."""
    from napari_colorize_training.recipe import read_recipe as read

    read(str(path))


def read_run(path: Path) -> None:
    """Load the state of a run folder, and continue its log."""
    from napari_colorize_training.loop.run_folder import RunFolder

    folder = path.with_suffix(".run")
    folder.mkdir(exist_ok=True)
    for name in ("state.pt", "log.csv"):
        shutil.copy(path, folder / name)
    run = RunFolder(folder, {"steps": 3})
    with suppress(ColorizeError):
        run.load()
    run.begin_log(1)


def read_settings(path: Path) -> None:
    """Make settings from JSON, as a front end does."""
    from napari_colorize.settings import ColorizeSettings, settings_from

    values = json.loads(path.read_bytes())
    if isinstance(values, dict):
        assert isinstance(settings_from(values), ColorizeSettings)


READERS: dict[str, Callable[[Path], None]] = {
    **dict.fromkeys(
        (".png", ".apng", ".jpg", ".tif", ".webp", ".gif", ".bmp", ".jp2", ".avif", ".dcm", ".ppm"),
        read_images,
    ),
    ".mp4": read_video,
    ".zarr.json": read_zarr,
    ".safetensors": read_checkpoint,
    ".pth": read_checkpoint,
    ".old.pth": read_checkpoint,
    ".toml": read_recipe,
    ".pt": read_run,
    ".settings.json": read_settings,
}


def make_samples(folder: Path) -> None:
    """Write a small valid file for each reader; formats whose library is missing are left out."""
    import torch
    from napari_colorize_training.recipe import read_recipe as recipe_of
    from napari_colorize_training.recipe import recipe_names
    from PIL import Image

    from napari_colorize import zoo
    from napari_colorize.io.images import write_image

    rgb = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    record = {"model": "embedded", "settings": {"saturation": 1.0}}
    for suffix in (".png", ".jpg", ".webp", ".bmp", ".jp2", ".avif"):
        with suppress(ColorizeError):
            write_image(folder / f"a{suffix}", rgb, provenance=record)
    write_image(folder / "deep.png", rgb.astype(np.uint16) * 257)
    write_image(folder / "a.apng", np.stack([rgb, 255 - rgb]))
    write_image(folder / "a.tif", np.stack([rgb, rgb]), provenance=record)
    write_image(folder / "a.ome.tif", np.stack([rgb, rgb]), provenance=record)
    frames = [Image.fromarray(each) for each in (rgb, 255 - rgb)]
    frames[0].save(folder / "a.gif", save_all=True, append_images=frames[1:])
    (folder / "a.ppm").write_bytes(b"P6 4 2 65535\n" + bytes(48))
    with suppress(ImportError):
        _write_dicom(folder / "a.dcm", rgb[..., 0])
    with suppress(ImportError):
        _write_video(folder / "a.mp4", rgb)
    grid = {"name": "regular", "configuration": {"chunk_shape": [1, 8, 8]}}
    array = {"zarr_format": 3, "node_type": "array", "shape": [2, 16, 16], "data_type": "uint8"}
    array |= {"chunk_grid": grid, "chunk_key_encoding": {"name": "default"}, "fill_value": 0}
    text = json.dumps({**array, "codecs": [{"name": "bytes"}], "attributes": {}})
    (folder / "a.zarr.json").write_text(text)
    _, weights = zoo.load("embedded")
    few = dict(list(weights.state.items())[:12])
    torch.save({"state_dict": few}, folder / "a.pth")
    torch.save(few, folder / "a.old.pth", _use_new_zipfile_serialization=False)
    torch.save({"identity": '{"steps": 3}', "step": 1, "rows": []}, folder / "a.pt")
    from safetensors.torch import save_file

    save_file({key: each.contiguous() for key, each in few.items()}, folder / "a.safetensors")
    import napari_colorize_training

    name = recipe_names()[0]
    recipes = Path(napari_colorize_training.__file__).parent / "recipes"
    shutil.copy(recipes / f"{recipe_of(name).name}.toml", folder / "a.toml")
    settings = {"saturation": 1.5, "render_factor": 8, "edges": 1.0, "contrast_limits": [0, 255]}
    (folder / "a.settings.json").write_text(json.dumps(settings))


def _write_dicom(path: Path, gray: np.ndarray[Any, Any]) -> None:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = "1.2.3"
    made.Rows, made.Columns = gray.shape
    made.BitsAllocated = made.BitsStored = 8
    made.HighBit, made.PixelRepresentation, made.SamplesPerPixel = 7, 0, 1
    made.PhotometricInterpretation, made.NumberOfFrames = "MONOCHROME2", 2
    made.WindowCenter, made.WindowWidth = "100", "50"
    made.PixelData = gray.tobytes() * 2
    made.save_as(path, enforce_file_format=True)


def _write_video(path: Path, rgb: np.ndarray[Any, Any]) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width = rgb.shape[:2]
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb)))
        container.mux(stream.encode())


def mutated(data: bytes, choose: random.Random) -> bytes:
    """A copy with one to four random changes."""
    changed = bytearray(data)
    for _ in range(choose.randint(1, 4)):
        at = choose.randrange(len(changed) + 1)
        # Headers are at the beginning of most formats.
        at = choose.randrange(min(len(changed), 200) + 1) if choose.random() < 0.5 else at
        length = choose.choice([1, 1, 2, 4, 8, choose.randint(1, 400)])
        match choose.randrange(5):
            case 0:
                changed[at : at + length] = choose.randbytes(length)
            case 1:
                del changed[at : at + length]
            case 2:
                changed[at:at] = changed[at : at + length]
            case 3:
                special = choose.choice(SPECIAL)
                changed[at : at + len(special)] = special
            case 4:
                del changed[at:]
    return bytes(changed)


def suffix_of(name: str) -> str:
    """The longest suffix that has a reader."""
    return max((each for each in READERS if name.endswith(each)), key=len)


def child(samples: Path, work: Path, seed: int, known: list[Path], end: float) -> None:
    """Read files until the time is over, or another exception than a ColorizeError is raised."""
    _limit_memory()
    warnings.simplefilter("ignore")
    choose = random.Random(seed)
    originals = sorted(samples.iterdir())
    for number in range(CHILD_CASES):
        if time.monotonic() > end:
            return
        if number < len(known):
            data, suffix = known[number].read_bytes(), suffix_of(known[number].name)
        else:
            original = choose.choice(originals)
            data, suffix = mutated(original.read_bytes(), choose), suffix_of(original.name)
        for old in work.iterdir():
            shutil.rmtree(old) if old.is_dir() else old.unlink()
        path = work / f"case{suffix}"
        path.write_bytes(data)
        (work / "count").write_text(f"{number + 1} {suffix}")
        try:
            READERS[suffix](path)
        except (ColorizeError, MemoryError, json.JSONDecodeError, UnicodeDecodeError) as error:
            is_ours = isinstance(error, ColorizeError) or suffix == ".settings.json"
            if not is_ours:
                raise
    (work / "done").touch()


def _limit_memory() -> None:
    with suppress(ImportError):
        import resource

        import psutil

        limit = psutil.Process().memory_info().vms + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def guarded(work: Path, *arguments: Any) -> None:
    """Run `child`; the traceback of an exception is written beside the file."""
    try:
        child(arguments[0], work, *arguments[1:])
    except BaseException:  # noqa: BLE001
        (work / "traceback").write_text(traceback.format_exc())
        sys.exit(1)


def main() -> int:
    """Run for some minutes; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("minutes", type=float, nargs="?", default=10.0)
    parser.add_argument("--corpus", type=Path, default=CORPUS)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    known = sorted(options.corpus.iterdir()) if options.corpus.is_dir() else []
    read, failures = 0, Counter[str]()
    processes = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        samples, work = Path(folder, "samples"), Path(folder, "work")
        samples.mkdir()
        work.mkdir()
        with warnings.catch_warnings(action="ignore"):
            make_samples(samples)
        seed, end = options.seed, time.monotonic() + 60 * options.minutes
        while time.monotonic() < end:
            seed += 1
            process = processes.Process(
                target=guarded,
                args=(work, samples, seed, known if seed == options.seed + 1 else [], end),
            )
            process.start()
            count, since = "", time.monotonic()
            while process.is_alive():
                process.join(1.0)
                with suppress(OSError):
                    if (now := (work / "count").read_text()) != count:
                        count, since = now, time.monotonic()
                if time.monotonic() - since > SECONDS:
                    process.kill()
            read += int(count.split()[0]) if count else 0
            if process.exitcode and count:
                suffix = count.split()[1]
                name = f"{options.seed}-{seed}{suffix}"
                options.corpus.mkdir(parents=True, exist_ok=True)
                shutil.copy(work / f"case{suffix}", options.corpus / name)
                found = work / "traceback"
                text = found.read_text() if found.exists() else f"exit code {process.exitcode}\n"
                print(f"{options.corpus / name}:\n{text}", flush=True)
                failures[suffix] += 1
            for old in work.iterdir():
                shutil.rmtree(old) if old.is_dir() else old.unlink()
    print(f"{read} files, {failures.total()} failures {dict(failures)}")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
