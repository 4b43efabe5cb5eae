"""Feed damaged files to every reader; report what is no ColorizeError.

    python tools/fuzz.py [MINUTES] [--corpus FOLDER] [--seed NUMBER]

A small valid file of each format is made first. Then copies with changed, removed, repeated or
inserted bytes are read in a child process with limited memory. A file that raises another exception
than a ColorizeError, crashes or hangs the child is saved in the corpus, whose files are read first
by the next run. The exit code is 1 if there are any.
"""

from __future__ import annotations

import argparse
import faulthandler
import io
import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from napari_colorize.errors import ColorizeError

MEMORY = 4 * 10**9  # bytes of address space of a child, in addition to what it has
SECONDS = 60  # of computation for one file; a child that takes longer is killed
WAITING = 20  # a child is also killed after so many times that time, whatever it waits for
# Makes a child write its stack before it is killed.
STACK_SIGNAL = getattr(signal, "SIGUSR1", None)
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
WORDS = [
    *(b"-1", b"0", b"1e999", b"-0.0", b"NaN", b"99999999999999999999", b"2147483648", b"0.5"),
    *(
        b'""',
        b'"a"',
        b'"\\u0000"',
        b'"\\ud800"',
        b'"../.."',
        b'"float64"',
        b'"1"',
        b"true",
        b"null",
    ),
    *(b"[]", b"{}", b"[1]", b"[[1, 2], 3]", b'{"a": 1}', b"1979-05-27"),
]
PNG = b"\x89PNG\r\n\x1a\n"
AXIS_TYPES = ("time", "channel", "space", "space")
CORPUS = Path(__file__).parents[1] / "tests" / "data" / "fuzz"


def read_images(path: Path) -> None:
    """Read pixels and provenance."""
    from napari_colorize.io.images import read_image, read_provenance

    with suppress(ColorizeError):
        read_provenance(path)
    read_image(path)


def read_video(path: Path) -> None:
    """Open a video as an array, and decode its first frame."""
    from napari_colorize.video.lazy_frames import open_video

    frames = open_video(path)
    frames[0]
    frames.close()


def read_zarr(path: Path) -> None:
    """Open a zarr whose metadata are this file, and read its first plane."""
    from napari_colorize.video.ome_zarr import open_zarr

    folder = path.with_suffix(".zarr")
    folder.mkdir(exist_ok=True)
    is_group = b'"group"' in path.read_bytes()
    shutil.copy(path, folder / "zarr.json")
    if is_group:
        (folder / "0").mkdir(exist_ok=True)
        (folder / "0" / "zarr.json").write_text(json.dumps(zarr_array((2, 3, 16, 16))))
    source = open_zarr(folder, Fraction(25))
    source.array[(0,) * len(source.leading)]


def read_checkpoint(path: Path) -> None:
    """Load a checkpoint, and its metadata as one of the user's models."""
    from napari_colorize import zoo
    from napari_colorize.networks import ARCHITECTURES
    from napari_colorize.zoo.weights import build

    with suppress(ColorizeError):
        zoo.user_checkpoint(path)
    checkpoint, weights = zoo.load(path)
    build(ARCHITECTURES[checkpoint.architecture], weights.state)


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
    _write_tiffs(folder, rgb)
    frames = [Image.fromarray(each) for each in (rgb, 255 - rgb)]
    frames[0].save(folder / "a.gif", save_all=True, append_images=frames[1:])
    (folder / "a.ppm").write_bytes(b"P6 4 2 65535\n" + bytes(48))
    with suppress(ImportError):
        _write_dicoms(folder, rgb[..., 0])
    with suppress(ImportError):
        _write_video(folder / "a.mp4", rgb)
    (folder / "a.zarr.json").write_text(json.dumps(zarr_array((2, 16, 16))))
    axes = [{"name": name, "type": kind} for name, kind in zip("tcyx", AXIS_TYPES, strict=True)]
    scale = [{"type": "scale", "scale": [1.0, 1.0, 0.5, 0.5]}]
    level = {"path": "0", "coordinateTransformations": scale}
    ome = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": [level]}]}
    group = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome}}
    (folder / "group.zarr.json").write_text(json.dumps(group))
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


def zarr_array(shape: tuple[int, ...]) -> dict[str, Any]:
    """Metadata of a zarr array without chunks."""
    grid = {"name": "regular", "configuration": {"chunk_shape": [1] * (len(shape) - 2) + [8, 8]}}
    array = {"zarr_format": 3, "node_type": "array", "shape": shape, "data_type": "uint8"}
    array |= {"chunk_grid": grid, "chunk_key_encoding": {"name": "default"}, "fill_value": 0}
    return {**array, "codecs": [{"name": "bytes"}], "attributes": {}}


def _write_tiffs(folder: Path, rgb: np.ndarray[Any, Any]) -> None:
    """TIFF with other compressions, sample types and color spaces."""
    from tifffile import imwrite

    gray = rgb[..., 0]
    palette = np.arange(3 * 256, dtype=np.uint16).reshape(3, 256)
    for name, array, options in (
        ("lzw", gray, {"compression": "lzw", "predictor": True}),
        ("jpeg", rgb, {"compression": "jpeg", "photometric": "rgb"}),
        ("tiled", gray, {"compression": "zlib", "tile": (16, 16)}),
        ("palette", gray, {"photometric": "palette", "colormap": palette}),
        ("float", gray.astype(np.float32), {"photometric": "minisblack"}),
        ("white", gray.astype(np.int16), {"photometric": "miniswhite"}),
        ("cmyk", np.dstack([rgb, gray]), {"photometric": "separated"}),
        ("lab", rgb, {"photometric": "cielab"}),
        ("alpha", np.dstack([rgb, gray]), {"photometric": "rgb", "extrasamples": ["unassalpha"]}),
        ("imagej", np.stack([gray, gray]), {"imagej": True}),
        ("big", np.stack([gray, gray]), {"bigtiff": True, "photometric": "minisblack"}),
    ):
        imwrite(folder / f"{name}.tif", array, **options)


def _write_dicoms(folder: Path, gray: np.ndarray[Any, Any]) -> None:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, RLELossless

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
    made.RescaleSlope, made.RescaleIntercept, made.PixelSpacing = "2", "-5", ["0.5", "0.5"]
    made.PixelData = gray.tobytes() * 2
    made.save_as(folder / "a.dcm", enforce_file_format=True)
    made.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    made.save_as(folder / "deflated.dcm", enforce_file_format=True)
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.compress(RLELossless)
    made.save_as(folder / "rle.dcm", enforce_file_format=True)


def _write_video(path: Path, rgb: np.ndarray[Any, Any]) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width = rgb.shape[:2]
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb)))
        container.mux(stream.encode())


def mutated(data: bytes, choose: random.Random) -> bytes:
    """A copy with one to four random changes, of a part of a zip file if it is one."""
    if data[:2] == b"PK" and choose.random() < 0.7:
        return _with_mutated_part(data, choose)
    is_text = data[:1] in b"{[" or data.isascii()
    if is_text and choose.random() < 0.5:
        return _with_other_values(data, choose)
    changed = _with_other_bytes(data, choose)
    # Chunks whose checksum is wrong would not be read.
    return (
        with_checksums(changed)
        if changed[:8] == data[:8] == PNG and choose.random() < 0.8
        else changed
    )


def _with_mutated_part(data: bytes, choose: random.Random) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(made, "w") as new:
        chosen = choose.choice([name for name in old.namelist() if old.getinfo(name).file_size])
        if choose.random() < 0.6:  # the structure of a checkpoint
            chosen = next((name for name in old.namelist() if name.endswith(".pkl")), chosen)
        for name in old.namelist():
            part = old.read(name)
            new.writestr(name, _with_other_bytes(part, choose) if name == chosen else part)
    return made.getvalue()


def _with_other_values(data: bytes, choose: random.Random) -> bytes:
    """Text with other numbers, strings and brackets in the place of one to three words."""
    for _ in range(choose.randint(1, 3)):
        words = list(re.finditer(rb'"[^"]*"|[-+\w.]+', data))
        if words:
            start, end = choose.choice(words).span()
            data = data[:start] + choose.choice(WORDS) + data[end:]
    return data


def with_checksums(data: bytes) -> bytes:
    """A PNG whose chunks have valid checksums."""
    made, at = bytearray(data), 8
    while at + 12 <= len(made):
        end = at + 8 + int.from_bytes(made[at : at + 4], "big")
        made[end : end + 4] = zlib.crc32(made[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(made)


def _with_other_bytes(data: bytes, choose: random.Random) -> bytes:
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
    # TensorBoard writes to its folder in a thread of its own, also after a case has ended.
    sys.modules["torch.utils.tensorboard"] = None  # type: ignore[assignment]
    choose = random.Random(seed)
    originals = sorted(samples.iterdir())
    suffixes = sorted({suffix_of(each.name) for each in originals})
    cases = Counter[str]()
    for each in originals:  # imports all libraries, and shows that the samples are valid
        with suppress(ColorizeError):
            READERS[suffix_of(each.name)](each)
    for number in range(CHILD_CASES):
        if time.monotonic() > end:
            return
        if number < len(known):
            data, suffix = known[number].read_bytes(), suffix_of(known[number].name)
        else:
            wanted = choose.choice(suffixes)
            original = choose.choice([each for each in originals if suffix_of(each.name) == wanted])
            data, suffix = mutated(original.read_bytes(), choose), suffix_of(original.name)
        for old in work.glob("case.*"):
            shutil.rmtree(old) if old.is_dir() else old.unlink()
        path = work / f"case{suffix}"
        path.write_bytes(data)
        cases[suffix] += 1
        (work / "cases").write_text(json.dumps({"last": suffix, "cases": cases}))
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

        limit = psutil.Process().memory_info().vms + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def guarded(work: Path, *arguments: Any) -> None:
    """Run `child`; the traceback of an exception is written beside the file."""
    try:
        with (work / "stack").open("w") as stack:
            if STACK_SIGNAL is not None:
                faulthandler.register(STACK_SIGNAL, file=stack)
            child(arguments[0], work, *arguments[1:])
    except BaseException:  # noqa: BLE001
        (work / "traceback").write_text(traceback.format_exc())
        sys.exit(1)


def read_progress(work: Path) -> dict[str, Any]:
    """The suffix of the file that the child reads, and how many it has read of each suffix."""
    with suppress(OSError, json.JSONDecodeError):
        progress: dict[str, Any] = json.loads((work / "cases").read_text())
        return progress
    return {}


def cpu_seconds(process: int | None) -> float:
    """Time that a process has computed; other programs do not make it longer."""
    with suppress(psutil.Error):
        times = psutil.Process(process).cpu_times()
        return float(times.user + times.system)
    return 0.0


def stop(process: Any) -> None:
    """Kill a child, after it has written its stack."""
    if STACK_SIGNAL is not None:
        os.kill(process.pid, STACK_SIGNAL)
        process.join(5.0)
    process.kill()


def place_of(text: str) -> str:
    """The place of an exception: the last line of code of a traceback."""
    return ([line for line in text.splitlines() if line.startswith('  File "')] or [text])[-1]


def main() -> int:
    """Run for some minutes; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("minutes", type=float, nargs="?", default=10.0)
    parser.add_argument("--corpus", type=Path, default=CORPUS)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    known = sorted(options.corpus.iterdir()) if options.corpus.is_dir() else []
    read, failures, found = Counter[str](), Counter[str](), set[str]()
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
            progress, since, used = {}, time.monotonic(), 0.0
            while process.is_alive():
                process.join(1.0)
                if (now := read_progress(work)) != progress:
                    progress, since, used = now, time.monotonic(), cpu_seconds(process.pid)
                is_slow = cpu_seconds(process.pid) - used > SECONDS
                if is_slow or time.monotonic() - since > WAITING * SECONDS:
                    stop(process)
            progress = read_progress(work)
            read.update(progress.get("cases", {}))
            if process.exitcode and progress:
                suffix = progress["last"]
                failures[suffix] += 1
                trace = work / "traceback"
                text = (trace if trace.exists() else work / "stack").read_text()
                text = text or f"exit code {process.exitcode}\n"
                if (place := suffix + place_of(text)) not in found:
                    found.add(place)
                    name = f"{options.seed}-{seed}{suffix}"
                    options.corpus.mkdir(parents=True, exist_ok=True)
                    shutil.copy(work / f"case{suffix}", options.corpus / name)
                    print(f"{options.corpus / name}:\n{text}", flush=True)
            for old in work.iterdir():
                shutil.rmtree(old) if old.is_dir() else old.unlink()
    for suffix, count in sorted(read.items()):
        print(f"{suffix}: {count} files, {failures[suffix]} failures")
    total = f"{read.total()} files, {failures.total()} failures at {len(found)} places"
    print(f"{options.minutes:g} minutes: {total}")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
