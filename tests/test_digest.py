"""Fingerprints tell files apart."""

from __future__ import annotations

from pathlib import Path

import torch

from inkdrop.digest import BLOCK, LOOKED, PLACES, digest_of_weights, fingerprint


def test_a_fingerprint_is_of_the_content(tmp_path: Path) -> None:
    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    content = bytearray(range(256)) * (16 * (LOOKED + 2 * PLACES * BLOCK) // 4096)
    first.write_bytes(content)
    second.write_bytes(content)
    known = fingerprint(first)
    assert known == fingerprint(second) and len(known) == 16
    for changed in (0, LOOKED - 1, LOOKED, LOOKED + 1):  # what is looked at
        content[changed] ^= 1
        second.write_bytes(content)
        assert fingerprint(second) != known
        content[changed] ^= 1
    second.write_bytes(content + b"x")
    assert fingerprint(second) != known


def test_a_folder_is_known_by_its_weights_and_settings(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "part").mkdir(parents=True)
        (tmp_path / name / "part" / "w.safetensors").write_bytes(b"weights")
        (tmp_path / name / "model.json").write_text("{}")
    (tmp_path / "two" / "card.md").write_text("words")
    one, two = (fingerprint(tmp_path / name) for name in ("one", "two"))
    assert one == two
    (tmp_path / "two" / "model.json").write_text("{ }")
    assert fingerprint(tmp_path / "two") != one


def test_weights_of_bfloat16_have_a_digest() -> None:
    one, two = ({"a": torch.tensor([1.0, x], dtype=torch.bfloat16)} for x in (2.0, 3.0))
    assert digest_of_weights(one) != digest_of_weights(two)


def test_what_a_linked_folder_holds_counts(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "w.safetensors").write_bytes(name.encode())
        (tmp_path / f"of {name}").mkdir()
        (tmp_path / f"of {name}" / "unet").symlink_to(tmp_path / name)
        (tmp_path / name / "back").symlink_to(tmp_path / f"of {name}")
    assert fingerprint(tmp_path / "of one") != fingerprint(tmp_path / "of two")
