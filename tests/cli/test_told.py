"""Models that are told a picture, on the command line: hints, masks, edits, and bad input."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pipelines
import pytest
import torch
from checkpoints import controlnet
from console import inkdrop, left, same
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps
from safetensors.torch import save_file

from inkdrop.media.settings import read_settings
from inkdrop.media.sheet import save_image
from inkdrop.tasks.added import Added
from inkdrop.tasks.edit import cut_out

Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for name in ("sd15", "inpainting", "pix2pix"):
        pipelines.saved(folder / name, name)
    for name in ("sd15", "sd21"):
        controlnet(name).save_pretrained(folder / f"control {name}")
    return folder


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def drawn(path: str | Path, height: int, width: int, seed: int = 0) -> Pixels:
    """Any picture, written to a file."""
    pixels: Pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def seen(path: str | Path) -> Pixels:
    with Image.open(path) as picture:
        return np.array(picture)


def hinted(models: Path, *more: Any) -> list[Any]:
    control = ["--control", models / "control sd15", "--hint", "edges.png"]
    return ["generate", "a fox", "--model", models / "sd15", "--steps", 2, *control, *more]


def test_a_picture_along_hints_and_the_same_again(
    models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn("edges.png", 40, 72)
    drawn("more.png", 80, 80, seed=1)
    more = ["--control", models / "control sd15", "--hint", "more.png"]
    scales = ["--control-scale", 2, "--control-scale", 0.5]
    inkdrop(monkeypatch, *hinted(models, *more, *scales, "--size", "40x72", "-o", "a.png"))
    assert "more.png is 80x80 and was stretched to 40x72" in capsys.readouterr().err
    inkdrop(monkeypatch, "generate", "--like", "a.png", "-o", "b.png")
    assert same(Path("a.png"), Path("b.png"))
    inkdrop(monkeypatch, *hinted(models, "--size", "40x72", "-o", "one.png"))
    plain = ["generate", "a fox", "--model", models / "sd15", "--steps", 2, "--size", "40x72"]
    inkdrop(monkeypatch, *plain, "-o", "plain.png")
    pictures = [seen(f"{name}.png").tobytes() for name in ("a", "one", "plain")]
    assert len(set(pictures)) == 3
    first, second = read_settings("a.png")["controls"]
    assert first["hint"]["sha256"] == Added.of("edges.png", "hint").sha256
    assert first["control"]["path"] == str(models / "control sd15")
    assert (first["control"]["weight"], second["control"]["weight"]) == (2, 0.5)

    drawn("edges.png", 40, 72, seed=9)
    said = left(monkeypatch, capsys, "generate", "--like", "a.png", "-o", "c.png")
    assert "the hint edges.png has changed since" in said
    Path("edges.png").unlink()
    said = left(monkeypatch, capsys, "generate", "--like", "a.png", "-o", "c.png")
    assert "the hint edges.png, which does not exist" in said
    assert not Path("c.png").exists()


@pytest.mark.parametrize("way", [["--engine", "packed"], ["--half"]])
def test_controls_by_every_engine(
    models: Path, monkeypatch: pytest.MonkeyPatch, way: list[str]
) -> None:
    drawn("edges.png", 40, 72)
    size = ["--size", "40x72"]
    inkdrop(monkeypatch, *hinted(models, *size, "-o", "a.png"))
    inkdrop(monkeypatch, *hinted(models, *size, *way, "-o", "b.png"))
    plain = ["generate", "a fox", "--model", models / "sd15", "--steps", 2, *size]
    inkdrop(monkeypatch, *plain, "-o", "plain.png")
    eager, found, alone = (seen(f"{n}.png").astype(int) for n in ("a", "b", "plain"))
    assert abs(found - eager).mean() < abs(alone - eager).mean() / 2
    if way == ["--engine", "packed"]:
        assert abs(found - eager).max() <= 1


def test_controls_in_fewer_evaluations(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn("edges.png", 40, 72)
    for scale in (0, 1):
        words = ["--size", "40x72", "--fast", "--control-scale", scale, "-o", f"{scale}.png"]
        inkdrop(monkeypatch, *hinted(models, *words))
    plain = ["generate", "a fox", "--model", models / "sd15", "--steps", 2, "--size", "40x72"]
    inkdrop(monkeypatch, *plain, "--fast", "-o", "plain.png")
    assert same(Path("plain.png"), Path("0.png")) and not same(Path("0.png"), Path("1.png"))


def test_a_mask_by_another_engine(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture, mask = drawn("in.png", 43, 50), masked(43, 50)
    words = ["inpaint", "in.png", "mask.png", "a fox", "--model", models / "inpainting"]
    inkdrop(monkeypatch, *words, "--steps", 2, "-o", "a.png")
    for way in (["--engine", "packed"], ["--half"], ["--fast"]):
        inkdrop(monkeypatch, *words, "--steps", 2, *way, "-o", "b.png")
        assert np.array_equal(seen("b.png")[~mask], picture[~mask])
        if way[0] != "--fast":
            assert abs(seen("b.png").astype(int) - seen("a.png")).mean() < 2


def test_what_controls_nothing(
    models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn("edges.png", 40, 72)
    for words, said in (
        (hinted(models, "--hint", "edges.png"), "give one hint for each control network"),
        (hinted(models, "--control-scale", "nan"), "is nan: it must be from"),
        (hinted(models, "--control-scale", 1, "--control-scale", 2), "a scale for all or none"),
        (["generate", "a", "--control", models / "control sd15", "--hint", "edges.png"],
         "the network is a DiT, but only a U-Net"),
        (["generate", "a", "--model", models / "sd15", "--control", models / "control sd21",
          "--hint", "edges.png"], "is a control network for sd2, but the model is of sd1"),
        (["generate", "a", "--model", models / "sd15", "--control", "none", "--hint",
          "edges.png"], "there is no control network none"),
        (["generate", "a", "--model", models / "control sd15"], "--control takes it"),
        # Said before anything of the model is read, which is not there.
        (["generate", "a", "--model", "none", "--control", models / "control sd15", "--hint",
          "edges.png", "--engine", "openvino", "--precision", "int8"],
         "the engine openvino does not support control networks; use the engine packed or"),
    ):  # fmt: skip
        assert said in left(monkeypatch, capsys, *words, "-o", "a.png"), words
    assert not Path("a.png").exists()
    inkdrop(monkeypatch, "info", models / "control sd15")
    assert "a diffusers folder of a control network\nfamily: sd1\n" in capsys.readouterr().out


def masked(height: int, width: int) -> NDArray[np.bool_]:
    """A mask in a file, and where it marks; grey below the half marks nothing."""
    mask = np.full((height, width), 127, np.uint8)
    mask[9:30, 12:41] = 128
    Image.fromarray(mask).save("mask.png")
    marks: NDArray[np.bool_] = mask > 127
    return marks


@pytest.mark.parametrize("seam", [0, 4])
def test_what_is_not_masked_stays_to_the_bit(
    models: Path, monkeypatch: pytest.MonkeyPatch, seam: int
) -> None:
    picture, mask = drawn("in.png", 43, 50), masked(43, 50)  # no multiples of 8
    words = ["inpaint", "in.png", "mask.png", "a fox", "--model", models / "inpainting"]
    inkdrop(monkeypatch, *words, "--steps", 2, "--seam", seam, "-o", "out.png")
    found = seen("out.png")
    assert found.shape == picture.shape
    assert np.array_equal(found[~mask], picture[~mask])
    assert (found[mask] != picture[mask]).mean() > 0.5
    told = read_settings("out.png")
    assert told["prompt"] == "a fox" and told["seam"] == seam
    assert told["mask"]["sha256"] == Added.of("mask.png", "mask").sha256
    assert told["size"] == [48, 56]  # whole places of the code
    assert told["picture"]["path"] == "in.png"


def test_a_lora_and_an_embedding(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture, mask = drawn("in.png", 40, 48), masked(40, 48)
    torch.manual_seed(0)
    base = "lora_unet_mid_block_attentions_0_proj_in"
    lora = {f"{base}.lora_up.weight": torch.randn(128, 2, 1, 1),
            f"{base}.lora_down.weight": torch.randn(2, 128, 1, 1)}  # fmt: skip
    save_file(lora, "boat.safetensors")
    save_file({"emb_params": 9 * torch.randn(2, 24)}, "glow.safetensors")
    into = ["inpaint", "in.png", "mask.png", "a glow", "--model", models / "inpainting"]
    change = ["edit", "in.png", "a glow", "--model", models / "pix2pix"]
    for words in (into, change):
        for name, more in (
            ("plain", []),
            ("lora", ["--lora", "boat.safetensors"]),
            ("embedding", ["--embedding", "glow.safetensors"]),
        ):
            inkdrop(monkeypatch, *words, "--steps", 2, *more, "-o", f"{words[0]} {name}.png")
        found = [seen(f"{words[0]} {name}.png") for name in ("plain", "lora", "embedding")]
        assert len({pixels.tobytes() for pixels in found}) == 3
    assert np.array_equal(seen("inpaint lora.png")[~mask], picture[~mask])


def see_through(path: str, height: int, width: int) -> Pixels:
    """Any picture with every transparency there is, written to a file."""
    pixels: Pixels = np.random.default_rng(7).integers(0, 256, (height, width, 4), np.uint8)
    pixels[:8, :, 3], pixels[-8:, :, 3] = 0, 255
    Image.fromarray(pixels).save(path)
    return pixels


def on_white(path: str) -> Image.Image:
    with Image.open(path) as picture:
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB")


@pytest.mark.parametrize("seam", [0, 3])
def test_painted_into_what_is_transparent_in_places(
    models: Path, monkeypatch: pytest.MonkeyPatch, seam: int
) -> None:
    picture, mask = see_through("in.png", 43, 50), masked(43, 50)
    on_white("in.png").save("white.png")
    to = ["mask.png", "a fox", "--model", models / "inpainting", "--steps", 2, "--seam", seam]
    inkdrop(monkeypatch, "inpaint", "in.png", *to, "-o", "out.png")
    inkdrop(monkeypatch, "inpaint", "white.png", *to, "-o", "opaque.png")
    found = seen("out.png")
    assert np.array_equal(found[~mask], picture[~mask])
    assert np.array_equal(found[mask][:, :3], seen("opaque.png")[mask])
    assert (found[mask][:, 3] == 255).all()


def test_what_is_transparent_is_painted_where_no_mask_says_what(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = see_through("in.png", 40, 48)
    holes = picture[..., 3] < 255
    on_white("in.png").save("white.png")
    Image.fromarray(holes).save("mask.png")
    to = ["a fox", "--model", models / "inpainting", "--steps", 2]
    inkdrop(monkeypatch, "inpaint", "in.png", *to, "--count", 2, "-o", "two.png")
    inkdrop(monkeypatch, "inpaint", "--like", "two.png", "--count", 1, "-o", "out.png")
    inkdrop(monkeypatch, "inpaint", "white.png", "mask.png", *to, "-o", "opaque.png")
    found = seen("out.png")
    assert np.array_equal(found[..., :3], seen("opaque.png")) and (found[..., 3] == 255).all()
    assert np.array_equal(found[~holes], picture[~holes])
    assert seen("two.png").shape[2] == 4 and read_settings("out.png")["mask"] is None


def test_an_edit_stays_as_transparent_as_it_was(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = see_through("in.png", 40, 48)
    on_white("in.png").save("white.png")
    to = ["make it winter", "--model", models / "pix2pix", "--steps", 2]
    inkdrop(monkeypatch, "edit", "in.png", *to, "-o", "out.png")
    inkdrop(monkeypatch, "edit", "white.png", *to, "-o", "opaque.png")
    found, opaque = seen("out.png"), seen("opaque.png")
    assert np.array_equal(found[..., 3], picture[..., 3])
    assert np.array_equal(found[-8:, :, :3], opaque[-8:])  # where nothing is transparent
    # Elsewhere it looks on white as the edit of it on white does, where colours reach so far.
    reached = ((found[..., :3] > 0) & (found[..., 3:] > 0)).all(2)
    assert 0.1 < reached.mean() < 0.9
    off = abs(np.array(on_white("out.png")).astype(int) - opaque)[reached]
    assert off.max() <= 1


def test_colours_come_back_from_white() -> None:
    torch.manual_seed(0)
    picture = 2 * torch.rand(1, 4, 9, 9, dtype=torch.float64) - 1
    alpha = (picture[:, 3:] + 1) / 2
    white = alpha * picture[:, :3] + (1 - alpha)
    shown = alpha[0, 0] > 1 / 255
    assert torch.allclose(cut_out(white, picture)[0, :, shown], picture[0, :, shown])


def test_several_at_once_and_each_alone(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn("in.png", 40, 48)
    masked(40, 48)
    words = ["inpaint", "in.png", "mask.png", "a fox", "--model", models / "inpainting"]
    inkdrop(monkeypatch, *words, "--steps", 2, "--count", 2, "--columns", 1, "-o", "two.png")
    inkdrop(monkeypatch, *words, "--steps", 2, "-o", "one.png")
    two, one = seen("two.png").astype(int), seen("one.png").astype(int)
    assert two.shape == (82, 48, 3)
    assert abs(two[:40] - one).max() <= 1
    assert abs(two[42:] - one).max() > 1


def test_an_edit(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = drawn("in.png", 43, 50)
    words = ["edit", "in.png", "make it winter", "--model", models / "pix2pix", "--steps", 2]
    inkdrop(monkeypatch, *words, "-o", "a.png")
    inkdrop(monkeypatch, *words, "--picture-guidance", 3, "--guidance", 5, "-o", "b.png")
    assert seen("a.png").shape == picture.shape
    assert not same(Path("a.png"), Path("b.png"))
    assert read_settings("a.png")["picture_guidance"] == 1.5
    assert read_settings("b.png")["guidance"] == 5
    assert read_settings("a.png")["picture"]["path"] == "in.png"


def test_painted_and_the_same_again(
    models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    picture, mask = drawn("in.png", 43, 50), masked(43, 50)
    words = ["inpaint", "in.png", "mask.png", "a fox", "--model", models / "inpainting"]
    inkdrop(monkeypatch, *words, "--steps", 2, "--seam", 3, "--seed", 5, "-o", "a.png")
    again = ["inpaint", "--like", "a.png", "-o", "b.png"]
    inkdrop(monkeypatch, *again)
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()

    # What is given beside it overrules it; all else stays.
    inkdrop(monkeypatch, "inpaint", "a hill", "--like", "a.png", "--seam", 0, "-o", "c.png")
    told = {**read_settings("a.png"), "prompt": "a hill", "seam": 0}
    assert read_settings("c.png") == told and not same(Path("a.png"), Path("c.png"))
    Image.fromarray(drawn("other.png", 40, 48, seed=1)).save("in.png")
    assert "the original in.png has changed since" in left(monkeypatch, capsys, *again)
    Path("mask.png").rename("moved.png")
    Image.fromarray(picture).save("in.png")
    said = left(monkeypatch, capsys, *again)
    assert "the mask mask.png, which does not exist; give its new path with PICTURE MASK" in said
    assert np.array_equal(seen("b.png")[~mask], picture[~mask])
    moved = ["inpaint", "in.png", "moved.png", "a fox", *again[1:]]
    inkdrop(monkeypatch, *moved)
    assert same(Path("a.png"), Path("b.png"))
    Image.open("moved.png").crop((0, 0, 48, 40)).save("mask.png")
    inkdrop(monkeypatch, "inpaint", "other.png", "mask.png", "a", *again[1:-1], "d.png")
    assert read_settings("d.png")["size"] == [40, 48] and read_settings("d.png")["seam"] == 3


def test_edited_and_the_same_again(
    models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn("in.png", 43, 50)
    own = Path("own").absolute()
    shutil.copytree(models / "pix2pix", own)
    words = ["edit", "in.png", "make it winter", "--model", "own", "--steps", 2]
    inkdrop(monkeypatch, *words, "--picture-guidance", 3, "--half", "-o", "a.png")
    again = ["edit", "--like", "a.png", "-o", "b.png"]
    inkdrop(monkeypatch, *again)
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()
    inkdrop(monkeypatch, *again[:-1], "c.png", "make it summer", "--picture-guidance", 2)
    told = {**read_settings("a.png"), "prompt": "make it summer", "picture_guidance": 2}
    assert read_settings("c.png") == told

    settings = own / "scheduler" / "scheduler_config.json"
    settings.write_text(settings.read_text() + " ")
    Path("b.png").unlink()
    assert "the model own has changed since" in left(monkeypatch, capsys, *again)
    shutil.rmtree(own)
    assert "give its new path, or another model, with --model" in left(monkeypatch, capsys, *again)
    assert not Path("b.png").exists()
    inkdrop(monkeypatch, *again, "--model", models / "pix2pix")
    assert same(Path("a.png"), Path("b.png"))
    Path("in.png").unlink()
    assert "the original in.png, which does not exist" in left(monkeypatch, capsys, *again)


def test_a_picture_is_made_again_by_the_command_that_made_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    blank = Image.new("RGB", (8, 8))
    for made in ("generate", "inpaint", "edit"):
        save_image(blank, f"{made}.png", settings={"prompt": "a", "task": made})
    save_image(blank, "older.png", settings={"prompt": "a"})
    save_image(blank, "newer.png", settings={"prompt": "a", "task": "weave"})
    for command, like, made in (
        ("generate", "edit.png", "edit"),
        ("generate", "inpaint.png", "inpaint"),
        ("inpaint", "edit.png", "edit"),
        ("edit", "generate.png", "generate"),
        ("edit", "older.png", "generate"),
    ):
        said = left(monkeypatch, capsys, command, "--like", like, "-o", "out.png")
        assert f"make it again with: inkdrop {made} --like {like}" in said
    said = left(monkeypatch, capsys, "edit", "--like", "newer.png", "-o", "out.png")
    assert "a task 'weave', which this inkdrop does not know" in said
    assert not Path("out.png").exists()


def test_bad_pictures_and_masks(
    models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn("in.png", 40, 48)
    drawn("small.png", 40, 40)
    drawn("vast.png", 4096, 4096)
    Image.new("L", (48, 40)).save("black.png")
    see_through("clear.png", 40, 48)
    masked(40, 48)
    into = ["--model", models / "inpainting"]
    for words, said in (
        (["inpaint", "in.png", "small.png", "a", *into], "mask is 40x40, but the picture 40x48"),
        (["inpaint", "in.png", "black.png", "a", *into], "the mask is all black"),
        (["inpaint", "in.png", "clear.png", "a", *into], "clear.png is transparent in places"),
        (["inpaint", "in.png", "a", *into], "in.png is opaque, so there is nothing to paint"),
        (["inpaint", "in.png", "mask.png", *into], "the prompt 'mask.png' is a picture"),
        (["inpaint", "in.png", *into], "give PICTURE [MASK] PROMPT, with the prompt in"),
        (["edit", "in.png", "a", "fox", *into], "give PICTURE PROMPT, with the prompt in"),
        (["inpaint", "in.png", "none.png", "a", *into], "there is no mask none.png"),
        (["inpaint", "none.png", "mask.png", "a", *into], "there is no picture none.png"),
        (["inpaint", "in.png", "mask.png", "a", *into, "--seam", -1], "seam is -1"),
        (["inpaint", "in.png", "mask.png", "a", "--model", models / "sd15"],
         "use an inpainting checkpoint"),
        (["inpaint", "in.png", "mask.png", "a", "--model", "emoji"],
         "use an inpainting checkpoint"),
        (["edit", "in.png", "a", *into], "use an instruct-pix2pix checkpoint"),
        (["edit", "in.png", "a", "--model", models / "pix2pix", "--picture-guidance", "inf"],
         "picture_guidance is inf"),
        (["edit", "vast.png", "a", "--model", models / "pix2pix", "--count", 999],
         "free; give --half or a smaller picture or a smaller --count"),
    ):  # fmt: skip
        assert said in left(monkeypatch, capsys, *words, "-o", "a.png"), words
    assert not Path("a.png").exists()


def test_what_is_no_picture(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn("in.png", 40, 48)
    whole = Path("in.png").read_bytes()
    Path("cut.png").write_bytes(whole[: len(whole) // 2])
    Path("head.png").write_bytes(whole[:20])
    Path("words.png").write_text("a picture")
    Path("empty.png").touch()
    Path("folder").mkdir()
    Image.new("1", (9000, 9000)).save("huge.png")
    Image.new("1", (5000, 9), 1).save("wide.png")
    Image.fromarray(np.full((40, 48), np.nan, np.float32)).save("nan.tif")
    before = sorted(Path().iterdir())
    for name, said in (
        ("cut.png", "cut.png is corrupt or truncated (image file is truncated); copy or save"),
        ("head.png", "head.png has a corrupt header"),
        ("words.png", "words.png is not a picture, despite its name"),
        ("empty.png", "empty.png is empty (0 bytes); copy"),
        ("folder", "folder is a folder; give a picture in it"),
        ("huge.png", "more than 80 megapixels, so it is not decoded; scale it down first"),
        ("wide.png", "wide.png is 9x5000 pixels, but a side may have at most 4096; scale it down"),
        ("nan.tif", "nan.tif holds values that are NaN or infinite; replace them"),
    ):
        model = ["--model", "nothing"]  # which is found out later
        for words in (["edit", name, "a"], ["inpaint", name, name, "a"]):
            assert said in left(monkeypatch, capsys, *words, *model), words
        if name != "wide.png":
            assert said in left(monkeypatch, capsys, "inpaint", "in.png", name, "a", *model)
    assert sorted(Path().iterdir()) == before


def test_pictures_of_every_kind(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = drawn("in.png", 40, 48)
    picture = Image.fromarray(pixels)
    turn = Image.Exif()
    turn[0x0112] = 6
    picture.transpose(Image.Transpose.ROTATE_90).save("turned.jpg", exif=turn)
    picture.convert("P").save("palette.png")
    picture.save("film.gif", save_all=True, append_images=[Image.new("RGB", (48, 40))])
    deep = np.full((40, 48), 32767, np.uint16)
    deep[9:30, 12:41] = 32896
    Image.fromarray(deep).save("deep.png")  # a mask: just below and just above the half
    mask = deep > 32767
    for name in ("turned.jpg", "palette.png", "film.gif", "deep.png"):
        with Image.open(name) as opened:
            expected = np.array(ImageOps.exif_transpose(opened).convert("RGB"))
        if name == "deep.png":
            expected = np.stack([(deep / 257).round().astype(np.uint8)] * 3, 2)
        words = ["inpaint", name, "deep.png", "a", "--model", models / "inpainting", "--steps", 2]
        inkdrop(monkeypatch, *words, "-o", "out.png")
        assert np.array_equal(seen("out.png")[~mask], expected[~mask]), name


@pytest.mark.parametrize("kind", ["png", "jpg", "webp", "tif"])
def test_colours_mean_what_they_did(
    models: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    # A profile of another space than sRGB, as telephones write: its primaries are exchanged.
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, blue = profile.index(b"rXYZ"), profile.index(b"bXYZ")
    profile[red], profile[blue] = profile[blue], profile[red]
    pixels = Image.fromarray(drawn("in.png", 40, 40))
    pixels.save(f"in.{kind}", icc_profile=bytes(profile))
    masked(40, 40)
    inkdrop(monkeypatch, "inpaint", f"in.{kind}", "mask.png", "a fox", "--model",
            models / "inpainting", "--steps", 1, "-o", "a.png")  # fmt: skip
    inkdrop(monkeypatch, "edit", f"in.{kind}", "a fox", "--model", models / "pix2pix", "--steps",
            1, "--count", 2, "-o", "b.png")  # fmt: skip
    for made in ("a.png", "b.png"):
        with Image.open(made) as picture:
            assert picture.info["icc_profile"] == bytes(profile)
    inkdrop(monkeypatch, "inpaint", "a.png", "mask.png", "a", "--model", models / "inpainting",
            "--steps", 1, "-o", "again.png")  # fmt: skip


def test_profiles_that_say_nothing_of_what_is_written(
    models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = Image.fromarray(drawn("in.png", 40, 40))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    of_ink = profile.replace(b"RGB ", b"CMYK", 1)
    large = (2**20 + 2**10).to_bytes(4, "big") + profile[4:]
    large += bytes(2**20 + 2**10 - len(large))
    pixels.convert("CMYK").save("ink.jpg", icc_profile=profile)
    pixels.convert("CMYK").save("ink.tif", icc_profile=of_ink)
    pixels.save("damaged.png", icc_profile=profile[:60])
    pixels.save("strange.png", icc_profile=b"?" * 16 + b"RGB " + b"?" * 40)
    pixels.save("large.jpg", icc_profile=large)
    into = ["--model", models / "pix2pix", "--steps", 1, "-o", "out.png"]
    for name in ("ink.jpg", "ink.tif", "damaged.png", "strange.png"):
        inkdrop(monkeypatch, "edit", name, "a fox", *into)
        with Image.open("out.png") as picture:
            assert "icc_profile" not in picture.info, name
    before = seen("out.png")
    said = left(monkeypatch, capsys, "edit", "large.jpg", "a fox", *into)
    assert "the colour profile of large.jpg is 1.0 MiB" in said
    assert np.array_equal(seen("out.png"), before)


def test_the_smallest_picture_and_all_of_it(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = drawn("in.png", 1, 1)
    Image.new("L", (1, 1), 255).save("mask.png")
    into = ["--model", models / "inpainting", "--steps", 2, "-o"]
    inkdrop(monkeypatch, "inpaint", "in.png", "mask.png", "a", *into, "a.png")
    inkdrop(monkeypatch, "edit", "in.png", "a", "--model", models / "pix2pix", *into[2:], "b.png")
    assert seen("a.png").shape == seen("b.png").shape == pixels.shape


def test_what_is_refused_before_a_model_is_looked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn("in.png", 40, 48)
    masked(40, 48)
    Path("folder.png").mkdir()
    before = sorted(Path().iterdir())
    into, change = ["inpaint", "in.png", "mask.png", "a"], ["edit", "in.png", "a"]
    for more, said in (
        (["--guidance", "nan"], "guidance is nan: it must be from"),
        (["--columns", 0], "columns is 0: it must be at least 1"),
        (["--count", 0], "count is 0: it must be at least 1"),
        (["--lora", "none"], "there is no LoRA none."),
        (["-o", "a.bmp"], "a.bmp cannot hold its settings; give --out one of .png"),
        (["-o", "folder.png"], "folder.png is a folder; give --out"),
        (["-o", "in.png/a.png"], "in.png is a file, so"),
    ):
        for words in (into, change):
            assert said in left(monkeypatch, capsys, *words, *more, "--model", "nothing"), more
    for words in (into, change):
        assert "the model is missing; give --model" in left(monkeypatch, capsys, *words)
        assert "no model folder or run nothing" in left(
            monkeypatch, capsys, *words, "--model", "nothing"
        )
    said = left(monkeypatch, capsys, *change, "--model", "nothing", "--picture-guidance", "nan")
    assert "picture_guidance is nan" in said
    assert sorted(Path().iterdir()) == before


def test_a_model_of_ours_is_told_a_picture_too(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture, mask = drawn("in.png", 40, 48), masked(40, 48)
    inkdrop(monkeypatch, "convert", models / "inpainting", "own")
    notes = json.loads(Path("own/model.json").read_text())["spec"]["notes"]
    assert notes["family"] == "sd1 inpainting"
    words = ["inpaint", "in.png", "mask.png", "a fox", "--steps", 2]
    for name, where in (("ours", "own"), ("theirs", models / "inpainting")):
        inkdrop(monkeypatch, *words, "--model", where, "-o", f"{name}.png")
    # Kernels of AVX2 may sum in another order where a file's weights lie at other addresses.
    assert abs(seen("ours.png").astype(int) - seen("theirs.png")).max() <= 1
    assert np.array_equal(seen("ours.png")[~mask], picture[~mask])
