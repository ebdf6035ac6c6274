"""LoRAs that prompts name: where they are looked for, by which names, and what is left as text."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from inkdrop.tasks.request import Request
from inkdrop.tasks.tags import with_tags


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model as A1111 keeps it, with LoRAs in all the places where programs keep theirs."""
    for name in (
        "models/Stable-diffusion/sd15.safetensors", "models/Stable-diffusion/beside.safetensors",
        "models/Lora/deep/boat.safetensors", "models/Lora/sea.pt", "models/Lora/sea.safetensors",
        "models/Lora/unet/adapter_config.json", "models/Lora/style.v2.safetensors",
        "models/Lora/café.safetensors", "other/boat.safetensors", "other/note.txt",
    ):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path / "models/Stable-diffusion/sd15.safetensors"


def found(model: Path, prompt: str, **more: str) -> list[str]:
    request, _ = with_tags(Request(model=str(model), prompt=prompt, **more))  # type: ignore[arg-type]
    assert request.lora_dir is None
    return [str(Path(lora.path).relative_to(model.parents[2])) for lora in request.loras]


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("beside", "models/Stable-diffusion/beside.safetensors"),
        ("boat", "models/Lora/deep/boat.safetensors"),
        ("deep/boat", "models/Lora/deep/boat.safetensors"),
        ("BOAT.safetensors", "models/Lora/deep/boat.safetensors"),
        ("sea", "models/Lora/sea.safetensors"),
        ("sea.pt", "models/Lora/sea.pt"),
        ("unet", "models/Lora/unet"),
        ("style.v2", "models/Lora/style.v2.safetensors"),
        (unicodedata.normalize("NFD", "café"), "models/Lora/café.safetensors"),
    ],
)
def test_where_they_are_found(model: Path, name: str, path: str) -> None:
    assert found(model, f"a <lora:{name}:0.8>") == [path]


def test_a_folder_that_is_given_is_looked_in_too(model: Path, tmp_path: Path) -> None:
    other = str(tmp_path / "other")
    assert found(model, "<lora:boat>", lora_dir=other) == ["other/boat.safetensors"]
    assert found(model, "<lora:sea>", lora_dir=other) == ["models/Lora/sea.safetensors"]
    (tmp_path / "other/more").mkdir()
    (tmp_path / "other/more/Boat.safetensors").write_bytes(b"")
    assert found(model, "<lora:Boat>", lora_dir=other) == ["other/more/Boat.safetensors"]
    with pytest.raises(ValueError, match=r"several LoRAs of that name: .*boat.*Boat"):
        found(model, "<lora:BOAT>", lora_dir=other)
    for name in ("note", "../other/boat", "/etc/passwd", "", "sd1"):
        with pytest.raises(ValueError, match=rf"there is no LoRA '{name}' in .*--lora-dir"):
            found(model, f"<lora:{name}:1>", lora_dir=other)
    with pytest.raises(ValueError, match="there is no folder"):
        found(model, "a", lora_dir=str(tmp_path / "gone"))
    with pytest.raises(ValueError, match="which is a file; give a folder"):
        found(model, "a", lora_dir=str(tmp_path / "other/note.txt"))
    _, notes = with_tags(Request(model=str(model), prompt="a", lora_dir=other))
    assert "names none" in notes[0]


def test_what_is_kept_of_a_prompt(model: Path) -> None:
    for prompt, kept, strengths in (
        ("a <lora:boat:0.5> cat", "a  cat", [0.5]),
        ("<lora:boat:-1><lyco:sea:te=.3:unet=0.3> a", "a", [-1.0, 0.3]),
        (r"a \<lora:boat:1> <lora:sea>", r"a \<lora:boat:1>", [1.0]),
        ("<lora:sea:1> <lora:boat:1> <lora:SEA:0.5>", "", [1.5, 1.0]),
        ("<lora:sea:1> <lora:sea:-1>", "", [0.0]),
        ("a <lora boat> 3 < 4 <loras:x>", "a <lora boat> 3 < 4 <loras:x>", []),
    ):
        request, _ = with_tags(Request(model=str(model), prompt=prompt))
        assert request.prompt == kept and [each.weight for each in request.loras] == strengths


def test_a_tag_sets_the_strength_of_a_lora_that_is_there_already(model: Path) -> None:
    first, _ = with_tags(Request(model=str(model), prompt="<lora:boat:0.5> <lora:sea:0.7>"))
    twice = (*first.loras, first.loras[1])
    request, _ = with_tags(Request(model=str(model), prompt="b <lora:boat:0.9>", loras=twice))
    assert [each.weight for each in request.loras] == [0.7, 0.7, 0.9]


def test_a_title_in_a_files_header_is_a_name_too(model: Path, tmp_path: Path) -> None:
    weights = {"a.lora_up.weight": torch.ones(2, 2)}
    path = tmp_path / "models/Lora/v3-final.safetensors"
    save_file(weights, path, {"ss_output_name": "Ink wash"})
    save_file(weights, path.with_name("v2.safetensors"), {"ss_output_name": "boat"})
    assert found(model, "<lora:Ink wash:1>") == ["models/Lora/v3-final.safetensors"]
    assert found(model, "<lora:boat:1>") == ["models/Lora/deep/boat.safetensors"]
    with pytest.raises(ValueError, match="there are 65 LoRAs in the prompt"):
        found(model, "<lora:boat>" * 65)
