"""Settings inside a PNG come back as they were, and Pillow sees both chunks."""

from __future__ import annotations

import json
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from inkdrop.media.image import read_image
from inkdrop.media.settings import MAX_TEXT, VERSION, read_settings, settings_in, settings_lines
from inkdrop.media.sheet import save_image

PICTURE = Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3))

PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    PLAIN | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=9,
)


def texts(path: Path) -> dict[str, str]:
    """The text chunks as Pillow reads them."""
    with Image.open(path) as picture:
        picture.load()
        return dict(picture.text)  # type: ignore[attr-defined]


def with_chunks(path: Path, *chunks: tuple[bytes, bytes]) -> Path:
    """A picture with chunks before its end, written by hand from the specification."""
    PICTURE.save(path)
    data = path.read_bytes()
    for kind, body in chunks:
        check = struct.pack(">I", zlib.crc32(kind + body))
        data = data[:-12] + struct.pack(">I", len(body)) + kind + body + check + data[-12:]
    path.write_bytes(data)
    return path


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(prompt=st.text(), negative=st.text(), more=st.dictionaries(st.text(), JSON, max_size=4))
def test_anything_comes_back(
    tmp_path: Path, prompt: str, negative: str, more: dict[str, Any]
) -> None:
    asked = more | {"prompt": prompt, "negative": negative, "seed": 7}
    path = tmp_path / "a.png"
    save_image(PICTURE, path, asked)
    assert read_settings(path) == asked
    assert json.loads(texts(path)["inkdrop"]) == {"version": VERSION, "settings": asked}


@pytest.mark.parametrize(
    "prompt",
    ['"a", b\nc: d', "배를 탄 고양이 🐱⛵", "Steps: 3\nNegative prompt: x", "\0\ud800\u2028"],
)
def test_prompts_that_break_formats(tmp_path: Path, prompt: str) -> None:
    path = tmp_path / "a.png"
    save_image(PICTURE, path, {"prompt": prompt})
    assert read_settings(path) == {"prompt": prompt}
    assert np.array_equal(read_image(path), np.asarray(PICTURE))
    if "\0" not in prompt:
        assert texts(path)["parameters"].startswith(prompt + "\nSize: 8x8, Version: inkdrop ")


def test_only_what_is_not_latin_is_an_international_chunk(tmp_path: Path) -> None:
    for prompt, kind in (("café", b"tEXtparameters\0caf\xe9"), ("배", b"iTXtparameters\0")):
        save_image(PICTURE, tmp_path / "a.png", {"prompt": prompt})
        assert kind in (tmp_path / "a.png").read_bytes()


def test_without_settings_nothing_is_carried(tmp_path: Path) -> None:
    save_image(PICTURE, tmp_path / "a.png")
    assert texts(tmp_path / "a.png") == {}
    with pytest.raises(ValueError, match=r"a.png holds no settings; use the picture as it was"):
        read_settings(tmp_path / "a.png")
    save_image(PICTURE, tmp_path / "a.png", {})
    assert read_settings(tmp_path / "a.png") == {}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("prompt", ["a boat", "배"])
def test_foreign_settings_of_every_kind_of_chunk(tmp_path: Path, packed: bool, prompt: str) -> None:
    chunks = PngInfo()
    chunks.add_text("Title", "parameters", zip=packed)
    chunks.add_text("parameters", f"{prompt}\nSteps: 4, Seed: 5", zip=packed)
    PICTURE.save(tmp_path / "a.png", pnginfo=chunks)
    read = {"prompt": prompt, "steps": 4, "seed": 5, "program": "another program"}
    assert read_settings(tmp_path / "a.png") == read


def test_chunks_after_the_pixels_count(tmp_path: Path) -> None:
    own = json.dumps({"version": 1, "settings": {"seed": 3}}).encode()
    foreign = (b"tEXt", b"parameters\0Steps: 4, Seed: 5")
    path = with_chunks(tmp_path / "a.png", (b"tEXt", b"inkdrop\0" + own), foreign)
    assert read_settings(path) == {"seed": 3}
    translated = b"inkdrop\0\0\0en\0Tinte\0" + own
    assert read_settings(with_chunks(path, (b"iTXt", translated))) == {"seed": 3}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", r"a.png holds settings in broken JSON \(.*\)"),
        ("[" * 100_000, r"a.png holds settings in broken JSON \(.*\)"),
        ('{"version": 2, "x": 1}', r"holds settings of version 2, but .* up to 1; update inkdrop$"),
        ('{"version": 1}', r"a.png holds settings that are not in the form inkdrop writes$"),
        ("[1]", r"a.png holds settings that are not in the form inkdrop writes$"),
    ],
)
def test_settings_that_cannot_be_used(tmp_path: Path, text: str, said: str) -> None:
    path = with_chunks(tmp_path / "a.png", (b"tEXt", b"inkdrop\0" + text.encode()))
    with pytest.raises(ValueError, match=said) as caught:
        read_settings(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (b"tEXt", b"inkdrop"),
        (b"iTXt", b"inkdrop\0"),
        (b"iTXt", b"inkdrop\0\0\0no translation"),
        (b"iTXt", b"inkdrop\0\0\0\0\0\xff"),
        (b"zTXt", b"inkdrop\0\0not packed"),
        (b"zTXt", b"inkdrop\0\0" + zlib.compress(b"cut off")[:-5]),
        (b"zTXt", b"inkdrop\0\0" + zlib.compress(b"\0" * (MAX_TEXT + 1))),
    ],
)
def test_chunks_that_cannot_be_read(tmp_path: Path, kind: bytes, body: bytes) -> None:
    path = with_chunks(tmp_path / "a.png", (kind, body))
    with pytest.raises(ValueError, match=r"a.png is corrupt: its chunk 'inkdrop' cannot be read"):
        read_settings(path)


def test_every_cut_and_every_flipped_byte_of_the_chunk_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    save_image(PICTURE, path, {"prompt": "boat"})
    data = path.read_bytes()
    for end in range(8, len(data)):
        path.write_bytes(data[:end])
        with pytest.raises(ValueError, match=r"a.png is truncated"):
            read_settings(path)
    for i in range(data.index(b"boat"), data.index(b"boat") + 4):
        path.write_bytes(data[:i] + b"~" + data[i + 1 :])
        with pytest.raises(ValueError, match=r"chunk 'inkdrop' has a wrong checksum"):
            read_settings(path)


def test_what_is_no_png_is_said(tmp_path: Path) -> None:
    PICTURE.save(tmp_path / "a.bmp")
    (tmp_path / "empty.png").write_bytes(b"")
    for name in ("a.bmp", "empty.png"):
        with pytest.raises(ValueError, match=rf"{name} is no PNG, JPEG or WebP"):
            read_settings(tmp_path / name)
    with pytest.raises(ValueError, match=r"no picture .*a.bmq\. Did you mean 'a.bmp'\?"):
        read_settings(tmp_path / "a.bmq")
    with pytest.raises(ValueError, match=r"cannot be read: Is a directory"):
        read_settings(tmp_path)


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "webp"])
def test_jpegs_and_webps_hold_settings_too(tmp_path: Path, suffix: str) -> None:
    for prompt in ("a boat", '"a", b\nc: d 배를 🐱', "\0\ud800\u2028", "x" * 15_000):
        path = tmp_path / f"a.{suffix}"
        asked = {"prompt": prompt, "seed": 2**64 - 1, "labels": ["a", 1]}
        save_image(PICTURE, path, asked)
        assert read_settings(path) == asked == settings_in(path)
    save_image(PICTURE, path, {"prompt": "a 배", "steps": 3})
    with Image.open(path) as picture:
        assert np.asarray(picture).shape == (8, 8, 3)
        comment = picture.getexif().get_ifd(0x8769)[0x9286]
    assert comment[:8] == b"UNICODE\0"  # as A1111 writes it
    assert comment[8:].decode("utf-16-be").startswith("a 배\nSteps: 3, Size: 8x8")
    PICTURE.save(path)
    with pytest.raises(ValueError, match="holds no settings"):
        read_settings(path)


@pytest.mark.parametrize(
    "comment",
    [
        b"UNICODE\0" + "배\nSteps: 4, Seed: 5".encode("utf-16-be"),
        b"UNICODE\0" + "배\nSteps: 4, Seed: 5".encode("utf-16-le"),
        b"ASCII\0\0\0" + "배\nSteps: 4, Seed: 5".encode(),
    ],
)
def test_user_comments_of_others(tmp_path: Path, comment: bytes) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = comment
    for suffix in ("jpg", "webp"):
        PICTURE.save(tmp_path / f"a.{suffix}", exif=exif)
        read = {"prompt": "배", "steps": 4, "seed": 5, "program": "another program"}
        assert read_settings(tmp_path / f"a.{suffix}") == read


def test_broken_exif_is_no_settings(tmp_path: Path) -> None:
    save_image(PICTURE, tmp_path / "a.jpg", {"seed": 1})
    data = (tmp_path / "a.jpg").read_bytes()
    start = data.index(b"Exif\0\0")
    for end in range(start + 6, start + 60, 7):
        (tmp_path / "b.jpg").write_bytes(data[:end] + b"\xff" * (len(data) - end))
        with pytest.raises(ValueError, match=r"b\.jpg (holds|has|is)"):
            read_settings(tmp_path / "b.jpg")


def test_long_texts_are_not_read(tmp_path: Path) -> None:
    big, many = b"\0" * (MAX_TEXT + 200), 20
    path = with_chunks(tmp_path / "a.png", *[(b"tEXt", b"Title\0" + big)] * many)
    ours = with_chunks(tmp_path / "b.png", (b"tEXt", b"inkdrop\0" + big))
    tracemalloc.start()
    with pytest.raises(ValueError, match="holds no settings"):
        read_settings(path)
    with pytest.raises(ValueError, match=rf"holds settings of over {MAX_TEXT} bytes"):
        read_settings(ours)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MAX_TEXT


def test_long_settings_of_an_array_are_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, samples=np.zeros(1), settings=np.array("[" + " " * 10**7 + "]"))
    assert path.stat().st_size < 10**6
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"a\.npz holds no settings"):
        settings_in(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10**7
    np.savez_compressed(path, samples=np.zeros(1), settings=np.array('{"seed": 1}'))
    assert settings_in(path) == {"seed": 1}


def test_settings_that_cannot_be_written(tmp_path: Path) -> None:
    bad: list[tuple[dict[Any, Any], str]] = [
        ({"model": torch.zeros(1)}, r"the setting 'model' cannot be written as JSON: .*Tensor"),
        ({"guidance": float("nan")}, r"the setting 'guidance' cannot be written as JSON"),
        ({1: 2}, r"the name of a setting must be text, not 1"),
        ({"prompt": "x" * MAX_TEXT}, r"the settings take \d+ bytes of text.*shorten the prompt"),
    ]
    for asked, said in bad:
        with pytest.raises(ValueError, match=said):
            save_image(PICTURE, tmp_path / "a.png", asked)
    with pytest.raises(ValueError, match=r"a.bmp cannot carry settings; use .png"):
        save_image(PICTURE, tmp_path / "a.bmp", {"seed": 1})
    with pytest.raises(ValueError, match=r"at most 65000 fit into a JPEG; use .png, or shorten"):
        save_image(PICTURE, tmp_path / "a.jpg", {"prompt": "x" * 65_000})
    assert not list(tmp_path.iterdir())


def test_lines_for_a_person_say_what_is_set() -> None:
    hint = {"path": "edges.png", "sha256": "ab12", "weight": 1.0}
    settings = {
        "prompt": "a\x1b[31m cat\n🐱", "negative": None, "seed": 0, "fast": False, "half": True,
        "size": [512, 768], "loras": [{"path": "a.safetensors", "sha256": "cd", "weight": 0.5}],
        "controls": [{"hint": hint, "weight": 1.0}], "embeddings": [],
    }  # fmt: skip
    assert settings_lines(settings) == [
        "prompt: a\\x1b[31m cat\\n🐱",
        "seed: 0",
        "half: True",
        "size: 512x768",
        "loras: a.safetensors (sha256 cd, weight 0.5)",
        "controls: hint edges.png (sha256 ab12), weight 1.0",
    ]
    assert settings_lines({"size": 64, "width": 0}) == ["size: 64", "width: 0"]
