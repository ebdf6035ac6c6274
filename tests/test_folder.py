"""model.json: its kinds, and every description that is none refused in one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from inkdrop.folder import (
    FORMAT_VERSION,
    KEYS,
    KINDS,
    check_description,
    described,
    kind_of,
    read_description,
    write_description,
)


def content(kind: str) -> dict[str, Any]:
    return {name: {} for name in KEYS[kind]}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_read_again(tmp_path: Path, kind: str) -> None:
    about = described(kind, {**content(kind), KEYS[kind][0]: {"a": [1, 2.5, None], "ä": "웃"}})
    write_description(tmp_path, about)
    assert read_description(tmp_path, kind) == about
    # It is plain JSON that says what it is.
    plain = json.loads((tmp_path / "model.json").read_text(encoding="utf-8"))
    assert plain == about and plain["kind"] == kind and plain["format_version"] == FORMAT_VERSION


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("other", KINDS)
def test_one_kind_in_place_of_another(kind: str, other: str) -> None:
    about = described(kind, content(kind))
    if kind == other:
        check_description(about, kind, "here")
        return
    needed = KINDS[other].split(",")[0]
    with pytest.raises(ValueError, match=f"here describes {KINDS[kind]}.*{needed} is needed"):
        check_description(about, other, "here")


@pytest.mark.parametrize("kind", KINDS)
def test_files_from_before_the_field_are_known_by_their_keys(tmp_path: Path, kind: str) -> None:
    about = {"format_version": FORMAT_VERSION, **content(kind)}
    assert kind_of(about) == kind
    (tmp_path / "model.json").write_text(json.dumps(about))
    assert read_description(tmp_path, kind) == about
    other = next(each for each in KINDS if each != kind)
    with pytest.raises(ValueError, match="is needed"):
        read_description(tmp_path, other)


@pytest.mark.parametrize(
    ("found", "said"),
    [("modle", r"'modle'.*Did you mean 'model'"), ("video", r"'video'"), (7, r"'7'")],
)
def test_kinds_that_nobody_knows(found: object, said: str) -> None:
    about = {**described("model", content("model")), "kind": found}
    for wanted in KINDS:
        with pytest.raises(ValueError, match=said) as error:
            check_description(about, wanted, "here")
        assert all(kind in str(error.value) for kind in KINDS)


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind in KINDS for name in KEYS[kind] if name != "text"],
)
def test_missing_keys(kind: str, name: str) -> None:
    about = described(kind, content(kind))
    del about[name]
    with pytest.raises(ValueError, match=f"here has no '{name}'"):
        check_description(about, kind, "here")


def test_a_model_may_have_no_text() -> None:
    about = described("model", content("model"))
    del about["text"]
    check_description(about, "model", "here")


@pytest.mark.parametrize(
    ("kind", "name", "meant"),
    [("model", "netwrok", "network"), ("judge", "jugde", "judge"), ("model", "codecs", "codec"),
     ("autoencoder", "autoencoders", "autoencoder")],
)  # fmt: skip
def test_unknown_keys(kind: str, name: str, meant: str) -> None:
    about = {**described(kind, content(kind)), name: {}}
    with pytest.raises(ValueError, match=f"here .*'{name}'.*Did you mean '{meant}'"):
        check_description(about, kind, "here")


def test_keys_of_one_kind_in_another() -> None:
    about = {**described("judge", content("judge")), "network": {}}
    with pytest.raises(ValueError, match="unknown key 'network'"):
        check_description(about, "judge", "here")


@pytest.mark.parametrize("version", [0, 2, "1", None, 1.5])
def test_formats_of_another_time(version: object) -> None:
    about = {**described("model", content("model")), "format_version": version}
    with pytest.raises(ValueError, match=f"here has format .*reads {FORMAT_VERSION}"):
        check_description(about, "model", "here")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"model"', '{"kind": 1, "kind": 2}', "\0"])
def test_files_that_hold_no_description(tmp_path: Path, text: str) -> None:
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(ValueError, match=r"model\.json") as error:
        read_description(tmp_path, "model")
    assert "\n" not in str(error.value)


def test_a_folder_without_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"there is no model.json in {tmp_path}"):
        read_description(tmp_path, "model")
