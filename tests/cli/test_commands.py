"""The command line: its files, and one sentence with exit code 2 for everything that is wrong."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
from console import inkdrop
from encoders import clip
from models import latent_text_model as shown_model
from models import random_model
from PIL import Image

from inkdrop.media.sheet import to_picture
from inkdrop.tasks.generate import generate
from inkdrop.tasks.sampling import Sampling


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    random_model(tmp_path).save(tmp_path / "model")
    return tmp_path / "model"


def test_sample_writes_the_grid(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "new" / "grid.png"
    inkdrop(monkeypatch, "sample", saved, "--steps", 3, "--count", 6, "--scale", 2, "-o", out)
    with Image.open(out) as picture:
        assert picture.size[0] > 3 * 16


def test_interpolate_ends_equal_sample(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strip, film = tmp_path / "walk.png", tmp_path / "walk.webp"
    inkdrop(
        monkeypatch, "interpolate", saved, "--seeds", 3, 7, "--frames", 4, "--steps", 3,
        "--scale", 1, "-o", strip,
    )  # fmt: skip
    model = random_model(tmp_path)
    with Image.open(film) as frames:
        for index, seed in ((0, 3), (3, 7)):
            for step in generate(model, seed=seed, conditions=["0"], sampling=Sampling(steps=3)):
                want = to_picture(step.x[0])
            frames.seek(index)
            assert np.array_equal(np.asarray(frames.convert("L")), np.asarray(want))


def test_a_walk_is_made_again_by_its_own_model(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, again = tmp_path / "a.png", tmp_path / "b.png"
    words = ["--seeds", 3, 7, "--frames", 3, "--steps", 2]
    inkdrop(monkeypatch, "interpolate", saved, *words, "-o", first)
    inkdrop(monkeypatch, "interpolate", "--like", first, "-o", again)
    assert first.read_bytes() == again.read_bytes()


def test_walk_between_two_pictures(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, grey in (("a.png", 60), ("b.png", 200)):
        Image.new("RGB", (20, 12), (grey, grey, grey)).save(tmp_path / name)
    inkdrop(
        monkeypatch, "interpolate", saved, "--pictures", tmp_path / "a.png", tmp_path / "b.png",
        "--steps", 4, "-o", tmp_path / "walk.png",
    )  # fmt: skip
    assert (tmp_path / "walk.png").is_file()


def test_evaluate_prints_the_table(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--data", tmp_path / "tiny.npz", "--count", 8, "--steps", 2, "--judge-updates", 2)
    inkdrop(monkeypatch, "evaluate", saved, *words)
    said = capsys.readouterr().out
    assert "8 samples against 48 real pictures" in said and "Frechet distance" in said
    assert (saved / "evaluate" / "report.json").is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sampel", "x"], "there is no command 'sampel'"),
        (["train", "{tmp}/nothing"], "there is no file or folder"),
        (["train", "{tmp}/empty"], "no picture"),
        (["train", "{tmp}/tiny.npz", "--loss", "simpel"], "Did you mean 'simple'"),
        (["train", "{tmp}/tiny.npz", "--btach", "8"], "--batch"),
        (["train", "{tmp}/tiny.npz", "--predict", "epsilon"], "no prediction 'epsilon'"),
        (["train", "{tmp}/tiny.npz", "--process", "cosin"], "Did you mean 'cosine'"),
        (["train", "{tmp}/tiny.npz", "--lr", "-1"], "lr is -1"),
        (["train", "{tmp}/tiny.npz", "--loss", "hybrid"], "use times 'uniform'"),
        (["train", "{tmp}/tiny.npz", "--minutes", "1", "--updates", "1"], "not both"),
        (["train", "{tmp}/tiny.npz", "--device", "tpu"], "the device 'tpu' cannot be used"),
        (["distill", "{tmp}/nothing"], "there is no model folder or run"),
        (["distill", "{tmp}/model"], "not a run with its data; name some with --data"),
        (["distill", "{tmp}/model", "--data", "{tmp}/nothing"], "there is no file or folder"),
        (["distill", "{tmp}/model", "--steps", "0"], "steps is 0: it must be at least 1"),
        (["distill", "{tmp}/model", "--steps", "20"], "steps is 20 and the teacher's own are 20"),
        (["distill", "{tmp}/model", "--steps", "4.5"], "4.5"),
        (["distill", "{tmp}/model", "--method", "rolout"], "Did you mean 'rollout'"),
        (["distill", "{tmp}/model", "--teacher-steps", "3"], "more steps than the student's 4"),
        (["distill", "{tmp}/model", "--lr", "0"], "lr is 0"),
        (["distill", "{tmp}/model", "--minutes", "1", "--updates", "1"], "not both"),
        (["sample", "{tmp}/nothing"], "there is no model folder or run"),
        (["sample", "{tmp}/empty"], "neither a model folder nor a run"),
        (["sample", "{tmp}/model", "--steps", "0"], "steps is 0"),
        (["sample", "{tmp}/model", "--steps", "1001"], "steps is 1001"),
        (["sample", "{tmp}/model", "--count", "0"], "count is 0"),
        (["sample", "{tmp}/model", "--label", "cat"], "there is no class 'cat'"),
        (["sample", "{tmp}/model", "--steps", "2", "-o", "{tmp}/grid.xyz"], "xyz"),
        (["interpolate", "{tmp}/model"], "give exactly one of --prompts A B, --seeds A B"),
        (["interpolate", "{tmp}/model", "--prompts", "a", "b"], "trained without captions"),
        (["interpolate", "{tmp}/model", "--seeds", "1", "2", "--prompt", "a"], "no --prompt"),
        (["generate", "a cat", "--model", "{tmp}/model"], "trained without captions"),
        (["generate", "--model", "{tmp}/model"], "the prompt is missing"),
        (["train", "{tmp}/tiny.npz", "--text"], "--text needs --latent"),
        (["train", "{tmp}/tiny.npz", "--factor", "4"], "--factor needs --latent"),
        (["train", "{tmp}/tiny.npz", "--text-encoder", "x"], "--text-encoder needs --latent"),
        (
            ["train", "{tmp}/tiny.npz", "--latent", "--text-encoder", "x", "--no-text"],
            "text is off; leave one out",
        ),
        (["train", "{tmp}/tiny.npz", "--latent", "--text-encoder", "x"], "has no captions"),
        (["train", "{tmp}/tiny.npz", "--latent", "--text"], "has no captions"),
        (["train", "{tmp}/tiny.npz", "--latent", "--width", "32"], "leave it out"),
        (["train", "{tmp}/tiny.npz", "--latent", "--factor", "16"], "8 is not a multiple of 16"),
        (
            ["train", "{tmp}/tiny.npz", "--latent", "--network", "vit"],
            "no network for latents 'vit'",
        ),
        (
            ["train", "{tmp}/tiny.npz", "--latent", "--autoencoder", "{tmp}/model"],
            "an autoencoder is needed",
        ),
        (
            ["train", "{tmp}/tiny.npz", "--latent", "--autoencoder", "a", "--factor", "4"],
            "names one to reuse; leave one out",
        ),
        (["interpolate", "{tmp}/model", "--seeds", "1", "2", "--eta", "1"], "deterministic"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    words: list[str],
    said: str,
    saved: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        inkdrop(monkeypatch, *(word.replace("{tmp}", str(tmp_path)) for word in words))
    message = capsys.readouterr().err
    assert left.value.code == 2
    assert said in message
    assert message.count("\n") == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "words",
    [
        *(["--process", name] for name in ("linear", "sigmoid", "vp", "ve", "flow")),
        *(["--predict", name] for name in ("eps", "x0", "v", "velocity", "score", "mean")),
        *(["--loss", name] for name in ("simple", "min_snr")),
        ["--loss", "hybrid", "--times", "uniform"],
        ["--loss", "hybrid", "--times", "uniform", "--predict", "eps", "--width", "32"],
    ],
    ids=" ".join,
)
def test_every_choice_trains_and_samples(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.data(tmp_path)
    monkeypatch.chdir(tmp_path)
    inkdrop(monkeypatch, "train", "tiny.npz", "--updates", 2, "--batch", 4, *words)
    # The first weights of a network say 0, so a broken parameterization would show as not finite.
    inkdrop(monkeypatch, "sample", "runs/tiny", "--steps", 3, "--count", 2, "-o", "grid.png")
    assert (tmp_path / "grid.png").is_file()


def test_student_and_its_own_student(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.data(tmp_path)
    random_model(tmp_path).save(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    short = ["--updates", 2, "--batch", 4]
    # A bare model says nothing of its data; its student is a run and does.
    inkdrop(monkeypatch, "distill", "model", "--steps", 2, "--data", "tiny.npz", *short)
    inkdrop(monkeypatch, "distill", "runs/model-2", "--steps", 1, *short)
    inkdrop(monkeypatch, "sample", "runs/model-2-1", "--count", 2, "-o", "grid.png")
    assert (tmp_path / "grid.png").is_file()
    for method in ("consistency", "training"):
        words = ["--data", "tiny.npz", "--method", method, "--out", method]
        inkdrop(monkeypatch, "distill", "model", *words, *short)
        assert (tmp_path / method / "samples" / "final.png").is_file()


def test_whole_way_in_one_process_each(tmp_path: Path) -> None:
    tiny.data(tmp_path)
    run = [sys.executable, "-m", "inkdrop"]
    train = [*run, "train", "tiny.npz", "--updates", "3", "--width", "32", "--batch", "8"]
    first = subprocess.run(train, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "pictures: runs/tiny/samples/final.png" in first.stdout
    again = subprocess.run(train, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "resuming runs/tiny after update 3 of 3" in again.stdout
    sample = [*run, "sample", "runs/tiny", "--steps", "2", "-o", "grid.png"]
    subprocess.run(sample, cwd=tmp_path, capture_output=True, check=True)
    assert (tmp_path / "grid.png").is_file()


def test_invert_draws_three_rows_and_likelihood_states_its_errors(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tiny.data(tmp_path)
    for i in range(2):
        to_picture(data.take([i])[0]).save(tmp_path / f"{i}.png")
    out, files = tmp_path / "inverted.png", [tmp_path / "0.png", tmp_path / "1.png"]
    words = ["--exact", "--label", "1", "--steps", 5, "--grid", "logsnr", "--guidance", 1]
    inkdrop(monkeypatch, "invert", saved, *files, *words, "--scale", 1, "-o", out)
    said = capsys.readouterr().out
    error = float(said.split("reconstruction: ")[1].split()[0])
    assert error < 1e-3
    with Image.open(out) as picture:
        assert picture.size[1] > 3 * 8
    inkdrop(
        monkeypatch, "likelihood", saved, "--data", tmp_path / "tiny.npz", "--count", 2,
        "--steps", 4,
    )  # fmt: skip
    said = capsys.readouterr().out
    assert "bits per dimension, mean of 2 pictures" in said and "from the probes" in said
    inkdrop(
        monkeypatch, "likelihood", saved, "--data", tmp_path / "tiny.npz", "--count", 1,
        "--steps", 4,
    )  # fmt: skip
    assert "mean of 1 picture (standard error unknown over the data" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["invert", "SAVED", "nothing.png"], "nothing.png"),
        (["likelihood", "SAVED"], "name some with --data"),
        (["likelihood", "SAVED", "--count", "0"], "count is 0"),
    ],
)
def test_what_cannot_be_inverted_or_measured_is_one_sentence(
    saved: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    said: str,
) -> None:
    with pytest.raises(SystemExit) as left:
        inkdrop(monkeypatch, *[saved if word == "SAVED" else word for word in words])
    assert left.value.code == 2
    assert said in capsys.readouterr().err


def captioned_folder(folder: Path) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i, (channel, words) in enumerate([(0, "a red square"), (2, "a blue one")] * 6):
        pixels = rng.integers(0, 160, (16, 16, 3)).astype(np.uint8)
        pixels[..., channel] += 90
        Image.fromarray(pixels).save(folder / f"{i}.png")
        (folder / f"{i}.txt").write_text(words, encoding="utf-8")


def test_words_to_pictures_from_a_folder_with_captions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    captioned_folder(tmp_path / "squares")
    monkeypatch.chdir(tmp_path)
    short = ["--latent", "--updates", 2, "--batch", 4]
    coding = ["--autoencoder-updates", 2, "--factor", 4, "--code-channels", 4]
    inkdrop(monkeypatch, "train", "squares", *short, *coding)
    said = capsys.readouterr().out
    assert "latents: 12 pictures encoded" in said and "more: inkdrop generate" in said
    inkdrop(monkeypatch, "train", "squares", *short, *coding)
    assert "resuming runs/squares after update 2 of 2" in capsys.readouterr().out

    model = ["--model", "runs/squares", "--steps", 3]
    inkdrop(monkeypatch, "generate", "a red square", *model, "--count", 4, "-o", "four.png")
    inkdrop(monkeypatch, "generate", "--like", "four.png", "-o", "again.png")
    with Image.open("four.png") as first, Image.open("again.png") as again:
        assert np.array_equal(np.asarray(first), np.asarray(again))
    assert "model: runs/squares" in info(monkeypatch, capsys, "again.png")
    about = info(monkeypatch, capsys, "runs/squares").splitlines()
    assert "words it has read: 4" in about and "names it learned: a blue one, a red square" in about
    inkdrop(monkeypatch, "generate", "a red cat", *model, "-o", "cat.png")
    assert (
        "the model has never read 'cat'; the nearest names it knows are 'a red square';"
        " `inkdrop info runs/squares` lists all\n"
    ) in capsys.readouterr().err
    inkdrop(monkeypatch, "sample", "runs/squares", "--steps", 3, "--count", 2, "-o", "any.png")
    walk = ["--prompts", "a red square", "a blue one", "--frames", 3, "--steps", 3]
    inkdrop(monkeypatch, "interpolate", "runs/squares", *walk, "-o", "walk.png")

    # Another run from the same autoencoder, without words this time.
    reused = ["--autoencoder", "runs/squares/autoencoder", "--no-text", "--out", "other"]
    inkdrop(monkeypatch, "train", "squares", *short, *reused)
    inkdrop(monkeypatch, "sample", "other", "--steps", 3, "--count", 2, "-o", "other.png")
    assert not (tmp_path / "other" / "autoencoder").exists()


def test_a_picture_is_made_again_by_its_own_model_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shown_model().save("drawer")
    inkdrop(monkeypatch, "generate", "a cat", "--model", "drawer", "-o", "cat.png")
    inkdrop(monkeypatch, "generate", "--like", "cat.png", "-o", "again.png")
    assert (tmp_path / "cat.png").read_bytes() == (tmp_path / "again.png").read_bytes()
    assert "model: drawer" in info(monkeypatch, capsys, "cat.png")

    like = ["generate", "--like", "cat.png", "-o", "like.png"]
    described = tmp_path / "drawer" / "model.json"
    described.write_text(described.read_text().replace('"steps": 4', '"steps": 5'))
    assert "the model drawer has changed since" in refused(monkeypatch, capsys, *like)
    shutil.rmtree("drawer")
    assert "give its new path, or another model" in refused(monkeypatch, capsys, *like)
    assert not (tmp_path / "like.png").exists()
    shown_model().save("elsewhere")
    inkdrop(monkeypatch, *like, "--model", "elsewhere")
    assert np.array_equal(np.asarray(Image.open("cat.png")), np.asarray(Image.open("like.png")))


def refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: object
) -> str:
    with pytest.raises(SystemExit) as left:
        inkdrop(monkeypatch, *words)
    said = capsys.readouterr().err
    assert left.value.code == 2 and said.count("\n") == 1
    return said


def info(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], path: str) -> str:
    capsys.readouterr()
    inkdrop(monkeypatch, "info", path)
    return capsys.readouterr().out


def test_captions_read_by_a_pretrained_encoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    captioned_folder(tmp_path / "squares")
    (tmp_path / "squares" / "0.txt").write_text("a square\n\nof one colour " + 20 * "and more ")
    clip(tmp_path / "clip")
    monkeypatch.chdir(tmp_path)
    short = ["--latent", "--text-encoder", "clip", "--updates", 2, "--batch", 4, "--save-every", 1]
    coding = ["--autoencoder-updates", 1, "--factor", 4, "--code-channels", 4]
    capsys.readouterr()
    inkdrop(monkeypatch, "train", "squares", *short, *coding)
    said = capsys.readouterr().out
    example = next(line for line in said.splitlines() if line.startswith("more: "))
    assert example.startswith("more: inkdrop generate 'a square of one colour and more")
    assert example.endswith("--model runs/squares -o more.png") and len(example) < 150

    # The same from its first checkpoint on.
    shutil.copytree("runs/squares", "runs/again")
    shutil.rmtree("runs/again/checkpoints/00000002")
    inkdrop(monkeypatch, "train", "squares", *short, *coding, "--out", "runs/again")
    assert "resuming runs/again after update 1 of 2" in capsys.readouterr().out
    first, again = (
        tmp_path / "runs" / name / "checkpoints" / "00000002" for name in ("squares", "again")
    )
    for file in sorted(path.relative_to(first) for path in first.rglob("*.safetensors")):
        assert (first / file).read_bytes() == (again / file).read_bytes()

    shutil.rmtree("clip")
    drawn = ["--model", "runs/squares", "--steps", 2, "-o", "red.png"]
    inkdrop(monkeypatch, "generate", "a (red:1.3) square", *drawn)
    walk = ["--prompts", "a red square", "a blue one", "--frames", 3, "--steps", 2]
    inkdrop(monkeypatch, "interpolate", "runs/squares", *walk, "-o", "walk.png")
    with Image.open("red.png") as picture:
        assert picture.size == (16, 16)


def test_like_needs_nothing_beside_it(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("L", (8, 8), 60).save("a.png")
    inkdrop(monkeypatch, "invert", saved, "a.png", "--steps", 3, "-o", "one.npz")
    inkdrop(monkeypatch, "invert", "--like", "one.npz", "-o", "two.npz")
    assert np.array_equal(np.load("one.npz")["samples"], np.load("two.npz")["samples"])


def test_places_are_checked_before_the_work(
    saved: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("walk.webp").mkdir()
    walk = ["interpolate", saved, "--seeds", 1, 2, "-o", "walk.png"]
    assert "walk.webp is a folder" in refused(monkeypatch, capsys, *walk)
    np.save("a.npy", np.zeros((2, 1, 8)))
    for words, said in (
        (["compare", saved, "-o", "a.npz"], "no format of a figure '.npz'"),
        (["compare", saved, "-o", "walk.webp"], "walk.webp is a folder"),
        (["compare", saved, "-o", "a"], "no format of a figure ''"),
        (["invert"], "give RUN and the FILES"),
        (["info", "a.npy"], "carries no settings"),
        (["sample", "--like", "a.npy"], "carries no settings"),
        (["tune", saved, "--minutes", "nan"], "minutes is nan"),
        (["tune", saved, "--minutes", "inf"], "minutes is inf"),
        (["train", "digits", "--minutes", "inf"], "minutes is inf"),
    ):
        assert said in refused(monkeypatch, capsys, *words), words
    assert "sampler " not in capsys.readouterr().out
