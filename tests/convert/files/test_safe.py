"""Safetensors of strangers: what is sound is mapped as it is, what is not is refused in a line."""

from __future__ import annotations

import json
import pickle
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from bomb import Bomb
from safetensors.torch import load_file, save_file

from inkdrop.convert.files.pickled import open_trusted_pickle
from inkdrop.convert.files.safe import is_pickle, open_safe

GiB = 2**30


def written(path: Path, header: Any, data: bytes) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def entry(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_every_type_is_read_as_the_library_reads_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    types = (torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.uint8,
             torch.bool, torch.float8_e4m3fn)  # fmt: skip
    weights = {str(t): (4 * torch.randn(3, 5)).to(t) for t in types}
    weights |= {"number": torch.tensor(7.0), "none": torch.zeros(0, 4)}
    save_file(weights, tmp_path / "a.safetensors", {"who": "me"})
    file = open_safe(tmp_path / "a.safetensors")
    theirs = load_file(tmp_path / "a.safetensors")
    assert file.metadata == {"who": "me"} and file.weights.keys() == theirs.keys()
    for name, stored in file.weights.items():
        value = stored.read()
        assert (stored.shape, stored.dtype) == (tuple(value.shape), value.dtype)
        raw = [t.contiguous().flatten().view(torch.uint8) for t in (value, theirs[name])]
        assert torch.equal(*raw)


def test_weights_are_mapped_and_the_file_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"a": torch.ones(4), "b": torch.zeros(4)}, path)
    before = path.read_bytes()
    weights = open_safe(path).weights
    a, b = weights["a"].read(), weights["b"].read()
    assert b.data_ptr() - a.data_ptr() == 16
    a.fill_(3.0)
    assert path.read_bytes() == before


def test_a_weight_between_two_places_of_its_type_is_copied(tmp_path: Path) -> None:
    data = b"\x01\x02\x03" + struct.pack("<2f", 1.5, -2.0)
    header = {"a": entry("U8", [3], 0, 3), "b": entry("F32", [2], 3, 11)}
    assert (8 + len(json.dumps(header)) + 3) % 4
    weights = open_safe(written(tmp_path / "a.safetensors", header, data)).weights
    assert weights["b"].read().tolist() == [1.5, -2.0]


@pytest.mark.parametrize(
    ("header", "data", "said"),
    [
        ({"a": entry("F32", [2], 0, 8)}, b"1234", "cut short: 4 of its 8 bytes"),
        ({"a": entry("F32", [2], 0, 8)}, b"1234567890", "2 bytes after its last weight"),
        ({"a": entry("F32", [2], 0, 8), "b": entry("F32", [1], 4, 8)}, b"12345678", "overlaps"),
        ({"a": entry("F32", [2], 4, 12)}, b"123456789012", "has a gap before it"),
        ({"a": entry("F32", [2], 8, 0)}, b"12345678", "has -8 bytes for 'a', which needs 8"),
        ({"a": entry("F32", [3], 0, 8)}, b"12345678", "has 8 bytes for 'a', which needs 12"),
        ({"a": entry("F32", [-2], 0, 8)}, b"12345678", "which are not sizes"),
        ({"a": entry("F32", [2**62], 0, 8)}, b"12345678", "has 8 bytes for 'a'"),
        ({"a": entry("F32", [0, 2**62, 2**62], 0, 0)}, b"", "which are not sizes"),
        ({"a": entry("F32", [1] * 65, 0, 4)}, b"1234", "which are not sizes"),
        ({"a": entry("F32", [True], 0, 4)}, b"1234", "which are not sizes"),
        ({"a": entry("F4", [2], 0, 1)}, b"1", "holds 'a' as 'F4'"),
        ({"a": [1, 2]}, b"", "does not give dtype, shape"),
        ({"a\n\x1b[2J": entry("F32", [1], 0, 4)}, b"1234", "which no model has"),
        ({"a": {**entry("F32", [1], 0, 4), "code": "x"}}, b"1234", "does not give dtype, shape"),
        ({"__metadata__": {"a": [1]}}, b"", "metadata in its header that are not texts"),
        (b'{"a": 1, "a": 2}', b"", "'a' appears twice"),
        (b'{"a": ', b"", "not valid JSON"),
        (b'{"a":' + b"[" * 100_000, b"", "not valid JSON"),
        (b'{"a":' + b"9" * 10_000 + b"}", b"", "not valid JSON"),
    ],
)  # fmt: skip
def test_damaged_or_hostile(tmp_path: Path, header: Any, data: bytes, said: str) -> None:
    path = written(tmp_path / "a.safetensors", header, data)
    with pytest.raises(ValueError, match=said) as error:
        open_safe(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is not a model: it has 0 bytes"),
        (b"1234", "is not a model: it has 4 bytes"),
        (struct.pack("<Q", 200) + b'{"a": 1', "header should have 200 bytes, and the file has 15"),
        (struct.pack("<Q", 2**63) + b"{" + b" " * 40, "header should have"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "pointer of Git LFS"),
        (b"<!DOCTYPE html><html></html>", "a web page, not a model"),
        (b"GGUF\x03\x00\x00\x00\x00\x00", "a GGUF file"),
        (b"\x89PNG\r\n\x1a\n and so on", "is not a safetensors file; it begins with"),
    ],
)
def test_other_files(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=said):
        open_safe(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_under_another_name_is_never_executed(tmp_path: Path, zipped: bool) -> None:
    mark, path = tmp_path / "mark", tmp_path / "a.safetensors"
    if zipped:
        torch.save({"a": torch.ones(2), "b": Bomb(mark)}, path)
    else:
        path.write_bytes(pickle.dumps({"b": Bomb(mark)}, protocol=2))
    assert is_pickle(path)
    with pytest.raises(ValueError, match=r"is a pickle.*inkdrop convert --i-trust-this-pickle"):
        open_safe(path)
    with pytest.raises(ValueError, match=r"restricted loader.*it asks for getattr") as error:
        open_trusted_pickle(path)
    assert "weights_only" not in str(error.value)
    assert not mark.exists()


def refusal(path: Path) -> str:
    """Why a pickle is not opened, or "" if it is."""
    try:
        open_trusted_pickle(path)
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.filterwarnings("error")
def test_a_damaged_pickle_is_refused_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    torch.save({"a": torch.ones(2)}, path, _use_new_zipfile_serialization=False)
    sound = path.read_bytes()
    for place in range(0, len(sound), 7):
        path.write_bytes(sound[:place] + b"\xc0" + sound[place + 1 :])
        said = refusal(path)
        assert said == "" or (str(path) in said and "\n" not in said)
    path.write_bytes(pickle.dumps({"a": 1}, protocol=4))
    with pytest.raises(ValueError, match=r"restricted loader.*get the model as"):
        open_trusted_pickle(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_trusted_pickle_of_tensors(tmp_path: Path, zipped: bool) -> None:
    path, weights = tmp_path / "a.ckpt", {"a": torch.randn(3), "b": torch.ones(2).half()}
    torch.save(
        {"state_dict": weights, "global_step": 875000, "epoch": 3}, path,
        _use_new_zipfile_serialization=zipped,
    )  # fmt: skip
    file = open_trusted_pickle(path)
    assert all(torch.equal(file.weights[name].read(), weights[name]) for name in weights)
    assert file.metadata["global_step"] == "875000"


def test_a_pickle_without_weights(tmp_path: Path) -> None:
    torch.save({"hello": 3}, tmp_path / "a.pt")
    with pytest.raises(ValueError, match="holds no weights; found: hello"):
        open_trusted_pickle(tmp_path / "a.pt")
    torch.save([3], tmp_path / "b.pt")
    with pytest.raises(ValueError, match="holds a list"):
        open_trusted_pickle(tmp_path / "b.pt")


def test_a_header_whose_length_looks_like_a_pickle(tmp_path: Path) -> None:
    header = json.dumps({"a": entry("U8", [1], 0, 1)}).encode().ljust(0x0280)
    path = written(tmp_path / "a.safetensors", header, b"7")
    assert path.read_bytes().startswith(pickle.PROTO + b"\x02") and not is_pickle(path)
    assert open_safe(path).weights["a"].read().tolist() == [ord("7")]


@pytest.mark.parametrize(
    "header",
    [
        {"x" * 100_000: entry("F32", [1], 0, 8)}, {"x" * 100_000: 1},
        {"a": entry("Q" * 100_000, [1], 0, 4)}, {"x" * 100_000: entry("F32", [-1], 0, 4)},
        {"x" * 100_000: entry("F32", [1], 1, 5)}, {"a": entry("F32", [1] * 10_000, 0, 4)},
    ],
)  # fmt: skip
def test_messages_are_short_whatever_a_header_says(tmp_path: Path, header: Any) -> None:
    path = written(tmp_path / "a.safetensors", header, b"1234")
    with pytest.raises(ValueError, match=r"a\.safetensors") as error:
        open_safe(path)
    assert len(str(error.value)) < 600 and "\n" not in str(error.value)
