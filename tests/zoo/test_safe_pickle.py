"""Files made to run something: each is first shown to do so, then read, and must not.

What the payloads run is harmless: they make a marker file in the test's own folder.
"""

import collections
import contextlib
import datetime
import decimal
import functools
import io
import os
import pathlib
import pickle
import pickletools
import struct
import sys
import tarfile
import types
import zipfile

import pytest
import torch

from napari_colorize.errors import CheckpointError
from napari_colorize.zoo.weights import read_weights

# Torch warns about every pickle protocol other than 2.
pytestmark = pytest.mark.filterwarnings("ignore:Detected pickle protocol")

TENSOR = torch.arange(6.0).reshape(2, 3)


@pytest.fixture
def marker(tmp_path):
    return tmp_path / "marker"


class Call:
    """Object whose pickle calls `function` when it is loaded."""

    def __init__(self, function, *arguments, state=None):
        self.recipe = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.recipe

    def __call__(self):
        """Do nothing: pickle requires that the object is callable, so that calls can be nested."""


def by_open(marker):
    return Call(open, str(marker), "w")


def by_shell(marker):
    return Call(os.system, f'echo > "{marker}"')


def by_exec(marker):
    return Call(exec, f"open({str(marker)!r}, 'w').close()")


def by_partial(marker):
    return Call(functools.partial(open, str(marker)), "w")


def by_attribute(marker):
    return Call(Call(getattr, Call(__import__, "io"), "open"), str(marker), "w")


def by_inner_load(marker):
    """Payload of torch: a storage in bytes, loaded without restrictions."""
    inner = io.BytesIO()
    torch.save(by_open(marker), inner)
    return Call(torch.storage._load_from_bytes, inner.getvalue())


def by_state(marker):
    """Payload in the state of an object, set by a method that executes code."""
    return Call(sys.modules["made_to_harm"].Harmful, state={"path": str(marker)})


@pytest.fixture(autouse=True)
def module_with_a_harmful_class(monkeypatch):
    class Harmful:
        def __setstate__(self, state):
            pathlib.Path(state["path"]).touch()

    module = types.ModuleType("made_to_harm")
    module.Harmful = Harmful
    Harmful.__module__, Harmful.__qualname__ = "made_to_harm", "Harmful"
    monkeypatch.setitem(sys.modules, "made_to_harm", module)


PAYLOADS = [by_open, by_shell, by_exec, by_partial, by_attribute, by_inner_load, by_state]


def read_or_refused(path):
    try:
        return read_weights(path).state
    except CheckpointError:
        return None


def assert_harmless(path, marker):
    """Assert that the payload of a file runs in torch and not here; return the weights, if any."""
    with contextlib.suppress(Exception):  # some of these files execute their code and then fail
        torch.load(path, weights_only=False)
    assert marker.exists(), "the file is not dangerous, so it tests nothing"
    marker.unlink()

    state = read_or_refused(path)

    assert not marker.exists()
    return state


def nested(payload):
    return {"model": {"weight": TENSOR}, "opt": [{"deep": ({"er": payload},)}]}


def beside(payload):
    return {"weight": TENSOR, "payload": payload}


def first(payload):
    return {"payload": payload, "weight": TENSOR}


@pytest.mark.parametrize("place", [nested, beside, first])
@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("is_zip", [True, False])
def test_a_payload_is_dropped_and_the_weights_are_read(tmp_path, marker, place, payload, is_zip):
    path = tmp_path / "network.pth"
    torch.save(place(payload(marker)), path, _use_new_zipfile_serialization=is_zip)

    state = assert_harmless(path, marker)

    assert state.keys() == {"weight"}
    assert torch.equal(state["weight"], TENSOR)


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_file_with_only_a_payload_is_refused(tmp_path, marker, payload, is_zip):
    path = tmp_path / "network.pth"
    torch.save(payload(marker), path, _use_new_zipfile_serialization=is_zip)
    assert assert_harmless(path, marker) is None


def old_file_parts():
    """Split a file into magic number, protocol, system, content, keys of storages, storages."""
    file = io.BytesIO()
    torch.save({"weight": TENSOR}, file, _use_new_zipfile_serialization=False)
    content = file.getvalue()
    file.seek(0)
    parts = []
    for _ in range(5):
        start = file.tell()
        list(pickletools.genops(file))  # parses one pickle without executing it
        parts.append(content[start : file.tell()])
    return [*parts, content[file.tell() :]]


@pytest.mark.parametrize("part", range(5))
@pytest.mark.parametrize("protocol", [0, 4])
@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_payload_anywhere_in_an_old_file_does_not_run(tmp_path, marker, payload, protocol, part):
    path = tmp_path / "network.pth"
    parts = old_file_parts()
    parts[part] = pickle.dumps(payload(marker), protocol=protocol)
    path.write_bytes(b"".join(parts))

    state = assert_harmless(path, marker)

    assert state is None or torch.equal(state["weight"], TENSOR)


def test_the_parts_of_an_old_file_are_as_assumed_above(tmp_path):
    path = tmp_path / "network.pth"
    path.write_bytes(b"".join(old_file_parts()))
    assert torch.equal(read_weights(path).state["weight"], TENSOR)


@pytest.mark.parametrize("part", ["count", "storages", "views", "tensors", "pickle"])
def test_a_payload_in_the_tar_form_does_not_run(tmp_path, marker, part):
    payload = pickle.dumps(by_open(marker), protocol=2)
    nothing = pickle.dumps(0), pickle.dumps([])
    members = {
        "storages": b"".join(nothing),
        "tensors": pickle.dumps(0),
        "pickle": pickle.dumps({}),
    }
    if part == "count":
        members["storages"] = payload
    elif part == "storages":
        members["storages"] = pickle.dumps(1) + payload
    elif part == "views":
        members["storages"] = pickle.dumps(0) + payload
    else:
        members[part] = payload
    path = tmp_path / "network.pth"
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))

    assert assert_harmless(path, marker) is None


def pickled_by_hand(*instructions):
    return b"\x80\x02" + b"".join(instructions) + b"."


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"


def in_zip(path, content):
    """Zip file of torch with the given `data.pkl`."""
    torch.save({"weight": TENSOR}, path)
    with zipfile.ZipFile(path) as archive:
        records = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, record in records.items():
            archive.writestr(name, content if name.endswith("data.pkl") else record)


def test_a_file_cannot_change_torchs_own_functions(tmp_path):
    # Build: (None, {"__defaults__": (0,)}) set as the state of the function.
    change = b"N}" + text("__defaults__") + b"K\x00\x85s\x86b"
    in_zip(tmp_path / "network.pth", pickled_by_hand(REBUILD, change))
    before = torch._utils._rebuild_tensor_v2.__defaults__

    with pytest.raises(CheckpointError):
        read_weights(tmp_path / "network.pth")

    assert torch._utils._rebuild_tensor_v2.__defaults__ == before


@pytest.mark.parametrize("named", [REBUILD, b"ccollections\nOrderedDict\n", b"cio\nopen\n"])
def test_a_file_cannot_make_torch_write_a_patch(tmp_path, monkeypatch, named):
    # Torch writes "<name>.patch" for a "module" with `dump_patches` whose source differs.
    monkeypatch.chdir(tmp_path)
    patches = b"N}" + text("dump_patches") + b"\x88s" + text("__name__") + text("harm") + b"s\x86b"
    content = pickled_by_hand(
        b"(", text("module"), named, patches, text("file.py"), text("source\n"), b"tQ"
    )
    parts = old_file_parts()
    parts[3] = content
    (tmp_path / "network.pth").write_bytes(b"".join(parts))

    with pytest.raises(CheckpointError):
        read_weights(tmp_path / "network.pth")

    assert [file.name for file in tmp_path.iterdir()] == ["network.pth"]


@pytest.mark.parametrize("protocol", [2, 4])
def test_operations_on_unknown_objects_are_ignored(tmp_path, protocol):
    odds = {
        "default": collections.defaultdict(list, {"a": [1]}),
        "counter": collections.Counter("abc"),
        "deque": collections.deque([1, 2], maxlen=3),
        "set": {1, 2},
        "frozen": frozenset([1]),
        "bytes": bytearray(b"abc"),
        "number": decimal.Decimal("1.5"),
        "day": datetime.date(2019, 4, 1),
        "path": pathlib.PurePosixPath("a/b"),
        "dtype": torch.float16,
        "size": torch.Size([1, 2]),
        "device": torch.device("cpu"),
        "function": len,
        "class": dict,
        "error": ValueError("x"),
        "namespace": types.SimpleNamespace(a=1),
        "slice": slice(1, 2),
        "complex": 1j,
        "partial": functools.partial(int, base=2),
        "linear": torch.nn.Linear(2, 2),
    }
    path = tmp_path / "network.pth"
    torch.save(
        {"model": {"weight": TENSOR}, "opt": odds},
        path,
        pickle_protocol=protocol,
        _use_new_zipfile_serialization=False,
    )

    assert torch.equal(read_weights(path).state["weight"], TENSOR)


def test_methods_of_a_dictionary_in_a_file_are_not_called(tmp_path):
    own = dict.fromkeys(["items", "keys", "get", "__iter__"], slice(1))
    state = Call(collections.OrderedDict, [("weight", TENSOR)], state=own)
    torch.save({"model": state}, tmp_path / "network.pth")

    assert read_weights(tmp_path / "network.pth").state.keys() == {"weight"}


def test_a_zip_bomb_is_refused(tmp_path):
    path = tmp_path / "network.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("network/data.pkl", pickle.dumps({}, protocol=2))
        archive.writestr("network/version", b"3\n")
        archive.writestr("network/data/0", bytes(10**7))

    with pytest.raises(CheckpointError, match="is damaged or no checkpoint"):
        read_weights(path)


@pytest.mark.parametrize("is_zip", [True, False])
def test_an_expanded_view_that_fills_memory_is_refused(tmp_path, is_zip):
    path = tmp_path / "network.pth"
    endless = {"weight": torch.zeros(1).expand(10**12)}
    torch.save(endless, path, _use_new_zipfile_serialization=is_zip)

    with pytest.raises(CheckpointError, match="is damaged or no checkpoint"):
        read_weights(path)


def test_an_expanded_view_of_three_times_the_file_size_is_refused(tmp_path):
    path = tmp_path / "network.pth"
    torch.save({"weight": torch.zeros(10_000).expand(3, -1)}, path)

    with pytest.raises(CheckpointError, match="is damaged or no checkpoint"):
        read_weights(path)


def claiming(numbers):
    """File in the old format whose only storage claims a number of values; it has six."""
    parts = old_file_parts()
    storage = [text("storage"), b"ctorch\nFloatStorage\n", text("0"), text("cpu")]
    count = b"\x8a\x08" + struct.pack("<q", numbers)
    shape = b"K\x00K\x02K\x03\x86K\x03K\x01\x86\x89N"  # offset, size, stride, no gradient, no hooks
    tensor = [REBUILD, b"((", *storage, count, b"NtQ", shape, b"tR"]
    parts[3] = pickled_by_hand(b"}", text("weight"), *tensor, b"s")
    parts[4] = pickle.dumps(["0"], protocol=2)
    return b"".join(parts)


def test_a_storage_of_the_actual_size_is_read(tmp_path):
    (tmp_path / "network.pth").write_bytes(claiming(6))
    assert torch.equal(read_weights(tmp_path / "network.pth").state["weight"], TENSOR)


@pytest.mark.parametrize("numbers", [-6, 7, 10**9, 2**60])
def test_a_storage_that_claims_more_is_refused(tmp_path, numbers):
    (tmp_path / "network.pth").write_bytes(claiming(numbers))
    with pytest.raises(CheckpointError):
        read_weights(tmp_path / "network.pth")


def test_a_huge_memo_index_allocates_no_memory(tmp_path):
    memo = b"Nr" + struct.pack("<I", 2**32 - 2)
    parts = old_file_parts()
    parts[3] = pickled_by_hand(b"cio\nopen\n", memo, b"0")
    (tmp_path / "network.pth").write_bytes(b"".join(parts))

    with pytest.raises(CheckpointError):
        read_weights(tmp_path / "network.pth")
