"""Checkpoints that claim much memory or time, and weights with which nothing can be computed."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from collections import OrderedDict

import pytest
import torch
from little_memory import little_memory
from safetensors.torch import save_file

from napari_colorize import zoo
from napari_colorize.errors import CheckpointError, ColorizeNote
from napari_colorize.networks.compact import CompactUNet
from napari_colorize.zoo import safe_pickle
from napari_colorize.zoo.user_models import user_checkpoint
from napari_colorize.zoo.weights import build, read_weights

HUGE = 2**33  # bytes


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(0)
    return CompactUNet().state_dict()


def refused(path):
    """The sentence for a file that is refused, with little memory."""
    with little_memory(), pytest.raises(CheckpointError) as caught:
        read_weights(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def write(path, pickled, *, is_zip):
    if not is_zip:
        path.write_bytes(pickled)
        return
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/version", "3\n")


def old(*content):
    """A file of the format before torch 1.6: magic number, protocol, system, content, keys."""
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
    parts = [pickle.dumps(each, 2) for each in (0x1950A86A20F9469CFC6C, 1001, system)]
    return b"".join(parts) + b"".join(content)


CLAIMS = {
    "BINBYTES": b"B" + struct.pack("<I", 2**32 - 1),
    "BINBYTES8": b"\x8e" + struct.pack("<Q", HUGE),
    "BYTEARRAY8": b"\x96" + struct.pack("<Q", HUGE),
    "BINSTRING": b"T" + struct.pack("<i", 2**31 - 1),
    "BINUNICODE": b"X" + struct.pack("<I", 2**32 - 1),
    "BINUNICODE8": b"\x8d" + struct.pack("<Q", HUGE),
    "LONG4": b"\x8b" + struct.pack("<i", 2**31 - 1),
    "FRAME": b"\x95" + struct.pack("<Q", HUGE),
    "LONG_BINPUT": b"Nr" + struct.pack("<I", 2**32 - 1),
}


@pytest.mark.parametrize("form", ["zip", "plain", "old"])
@pytest.mark.parametrize("protocol", [2, 5])
@pytest.mark.parametrize("claim", CLAIMS)
def test_no_operation_reserves_more_than_the_file_has(tmp_path, claim, protocol, form):
    pickled = b"\x80" + bytes([protocol]) + CLAIMS[claim] + b"."
    write(tmp_path / "a.pth", old(pickled) if form == "old" else pickled, is_zip=form == "zip")
    refused(tmp_path / "a.pth")


def storage(count, key="0", view=None):
    """Operations that refer to a storage of floats."""

    class Reference(pickle.Pickler):
        def persistent_id(self, value):
            return value.reference if isinstance(value, Stored) else None

    class Stored:
        reference = ("storage", torch.FloatStorage, key, "cpu", count, view)

    buffer = io.BytesIO()
    Reference(buffer, 2).dump(Stored())
    return buffer.getvalue()


def test_a_storage_is_not_reserved_before_it_is_read(tmp_path):
    (tmp_path / "a.pth").write_bytes(old(storage(HUGE), pickle.dumps(["0"], 2)))
    refused(tmp_path / "a.pth")


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_tensor_does_not_enlarge_its_storage(tmp_path, is_zip):
    torch.save({"weight": torch.ones(3)}, tmp_path / "a", _use_new_zipfile_serialization=is_zip)
    # The size (3,) is the integer 3 in a tuple.
    data = (tmp_path / "a").read_bytes()
    if is_zip:
        with zipfile.ZipFile(tmp_path / "a") as archive:
            files = {info.filename: archive.read(info) for info in archive.infolist()}
        name = next(name for name in files if name.endswith("data.pkl"))
        files[name] = claimed = files[name].replace(b"K\x00K\x03\x85", b"K\x00J\0\0\0\x40\x85")
        assert b"J\0\0\0\x40" in claimed
        with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
            for each, content in files.items():
                archive.writestr(each, content)
    else:
        claimed = data.replace(b"K\x00K\x03\x85", b"K\x00J\0\0\0\x40\x85")
        assert claimed != data
        (tmp_path / "a.pth").write_bytes(claimed)
    refused(tmp_path / "a.pth")


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("use", ["key", "set", "frozenset", "dictionary"])
def test_nested_tuples_are_not_hashed(tmp_path, is_zip, use):
    """The hash of such a tuple takes 2^60 steps."""
    nested = b")" + b"2\x86" * 60  # t = (t, t)
    pickled = {
        "key": b"}" + nested + b"Ns",
        "set": b"\x8f(" + nested + b"\x90",
        "frozenset": b"(" + nested + b"\x91",
        "dictionary": b"(" + nested + b"Nd",
    }[use]
    write(tmp_path / "a.pth", b"\x80\x04" + pickled + b".", is_zip=is_zip)
    refused(tmp_path / "a.pth")


@pytest.mark.parametrize("is_zip", [True, False])
def test_millions_of_operations_are_refused(tmp_path, is_zip):
    write(tmp_path / "a.pth", b"\x80\x02" + b"]" * 6_000_000 + b".", is_zip=is_zip)
    refused(tmp_path / "a.pth")


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("call", ["dictionary", "object"])
def test_arguments_of_calls_are_counted(tmp_path, monkeypatch, is_zip, call):
    """20,000 items are the argument of 10,000 calls: 200 million steps."""
    count, calls = 20_000, 10_000
    pairs = b"](" + b"K\x01K\x02\x86q\x00" + b"h\x00" * count + b"eq\x01"
    numbers = b"(" + b"K\x01" * count + b"tq\x01"
    start, each = {
        "dictionary": (pairs + b"ccollections\nOrderedDict\nq\x02", b"h\x02h\x01\x85R0"),
        "object": (numbers + b"ca\nb\nq\x02", b"h\x02h\x01\x810"),
    }[call]
    write(tmp_path / "a.pth", b"\x80\x04" + start + each * calls + b"N.", is_zip=is_zip)
    costs, charge = [], safe_pickle._Operations.charge
    monkeypatch.setattr(
        safe_pickle._Operations,
        "charge",
        lambda self, cost: (costs.append(cost), charge(self, cost)),
    )
    refused(tmp_path / "a.pth")
    assert safe_pickle.MAX_COST < sum(costs) < safe_pickle.MAX_COST + 2 * count


def test_a_zip_archive_of_very_many_members_is_refused(tmp_path):
    entry = struct.pack("<4s6H3I5H2I", b"PK\1\2", *[0] * 6, 0, 0, 0, 1, *[0] * 4, 0, 0) + b"a"
    count = 1_000_000
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, count * len(entry), 4, 0)
    (tmp_path / "a.pth").write_bytes(b"PK\3\4" + entry * count + end)
    assert "more tensors than any known network" in refused(tmp_path / "a.pth")


@pytest.mark.parametrize("count", [30_000, 1_000_000])
def test_a_safetensors_header_of_very_many_names_is_refused(tmp_path, count):
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    header = json.dumps({str(number): entry for number in range(count)}).encode()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    assert "more tensors than any known network" in refused(tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match="more tensors"):
        user_checkpoint(tmp_path / "a.safetensors")


def test_a_state_dict_of_python_2_is_read(tmp_path):
    saved = {"state_dict": OrderedDict(weight=torch.ones(2, 3))}
    torch.save(saved, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    assert read_weights(tmp_path / "a.pth").state["weight"].shape == (2, 3)


def changed(state, change):
    return {
        key: change(value) if value.is_floating_point() else value for key, value in state.items()
    }


def with_one_nan(value):
    value = value.clone()
    value.view(-1)[-1] = torch.nan
    return value


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda value: torch.full_like(value, torch.nan), "NaN or infinite"),
        (lambda value: torch.full_like(value, torch.inf), "NaN or infinite"),
        (with_one_nan, "NaN or infinite"),
        (torch.zeros_like, "are zero"),
        (lambda value: value * 1e30, "contains weights as large as"),
        (lambda value: value.to(torch.int8), "of type int"),
        (lambda value: value > 0, "of type bool"),
    ],
)
def test_unusable_weights_are_refused_when_they_are_loaded(tmp_path, state, change, reason):
    torch.save(changed(state, change), tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=reason) as caught:
        zoo.load(tmp_path / "a.pth")
    assert str(tmp_path / "a.pth") in str(caught.value)


def test_one_integer_weight_is_refused_by_name(state):
    checkpoint, weights = zoo.load("embedded")
    key = next(key for key, value in weights.state.items() if value.ndim > 1)
    quantized = {**weights.state, key: weights.state[key].to(torch.int8)}
    from napari_colorize.networks import ARCHITECTURES

    with pytest.raises(CheckpointError, match=f"{key} are of type int8"):
        build(ARCHITECTURES[checkpoint.architecture], quantized)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.netG.module."])
@pytest.mark.parametrize("more", [{}, {"n_averaged": torch.tensor(3)}])
def test_the_prefix_of_a_wrapper_is_removed(tmp_path, state, prefix, more):
    wrapped = {prefix + key: value.contiguous() for key, value in state.items()}
    save_file({**wrapped, **more}, tmp_path / "a.safetensors")
    with pytest.warns(ColorizeNote, match=f"prefix '{prefix}' of a wrapper was removed"):
        checkpoint, weights = zoo.load(tmp_path / "a.safetensors")
    assert checkpoint.architecture == "compact"
    assert weights.state.keys() == state.keys()
