"""`inkdrop evaluate`: the report against its own formulas, the second call from what is kept."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import tiny
import torch
from safetensors.torch import load_file

from inkdrop.codecs.latent import load_autoencoder
from inkdrop.evaluate.frechet import fit, frechet_distance
from inkdrop.evaluate.judge import Judge, JudgeConfig
from inkdrop.evaluate.memorisation import memorisation
from inkdrop.evaluate.reconstruction import psnr
from inkdrop.evaluate.samples import conditions_like
from inkdrop.model import Model
from inkdrop.networks.autoencoder_config import AutoencoderConfig
from inkdrop.runs import own_folder
from inkdrop.tasks.generate import generate_many
from inkdrop.tasks.sampling import Sampling
from inkdrop.train.aims.autoencoder import train_autoencoder
from inkdrop.train.aims.judge import load_judge
from inkdrop.train.config import TrainConfig
from inkdrop.train.evaluate import Evaluated, Made, evaluate
from inkdrop.train.evaluation import Evaluation
from inkdrop.train.feed import split
from inkdrop.train.parallel import World
from inkdrop.train.request import TrainRequest
from inkdrop.train.run import train
from inkdrop.train.updates import Update

CPU = torch.device("cpu")
QUICK = TrainRequest(TrainConfig(updates=3, batch=8, precision="float32", condition_drop=0.0))
ASKED = Evaluation(count=10, batch=4, sampling=Sampling(steps=2), training=QUICK)


def judge(folder: Path) -> Judge:
    torch.manual_seed(1)
    found = Judge(JudgeConfig({"label": ("a", "b")}, 1, widths=(8,), features=4, norm_groups=4))
    found.save(folder)
    return found.eval()


def test_a_run_is_measured_and_the_next_call_uses_what_is_kept(tmp_path: Path) -> None:
    data, run = tiny.data(tmp_path), tmp_path / "run"
    list(train(data, run, tiny.ask(updates=4), world=World(device=CPU)))
    events = list(evaluate(run, data, ASKED, device=CPU))
    found = events[-1]
    assert isinstance(found, Evaluated)
    home = run / "evaluate"
    assert sorted(p.name for p in home.iterdir()) == [
        "judge", "nearest.png", "reference", "report.json", "samples.png",
    ]  # fmt: skip
    assert [e.count for e in events if isinstance(e, Made)] == [4, 8, 10]
    measured = {m.name: m.value for m in found.report.measures}
    network, model = load_judge(home / "judge"), Model.load(own_folder(run)[0])
    with torch.no_grad():
        x = generate_many(
            model, count=10, batch=4, conditions=conditions_like(model, data, 10),
            sampling=ASKED.sampling,
        ).clamp(-1, 1)  # fmt: skip
        features = network.features(x)
        training, held = split(data, 0)
        assert held is not None
        learned, unseen, real = (
            network.features(part.take(range(len(part)))) for part in (training, held, data)
        )
    want = frechet_distance(fit(real), fit(features))
    assert measured["Frechet distance"] == pytest.approx(want, rel=1e-4)
    closer = memorisation(features, learned, unseen).closer
    assert measured["closer than held-out"] == pytest.approx(closer)
    assert json.loads((home / "report.json").read_text())["samples"] == 10
    again = list(evaluate(run, data, ASKED, device=CPU))
    assert not any(isinstance(event, Update) for event in again)
    assert again[-1] == found


def test_of_other_data_nothing_is_said_of_copies(tmp_path: Path) -> None:
    data = tiny.data(tmp_path)
    tiny.model(data).save(tmp_path / "model")
    judge(tmp_path / "judge")
    asked = dataclasses.replace(ASKED, judge=tmp_path / "judge")
    *_, found = evaluate(tmp_path / "model", data, asked, tmp_path / "out", device=CPU)
    assert isinstance(found, Evaluated) and found.folder == tmp_path / "out"
    assert "closer than held-out" not in {m.name for m in found.report.measures}
    assert "copies cannot be told" in found.report.notes[-1]
    assert not (tmp_path / "model" / "evaluate").exists()
    kept = next((tmp_path / "out" / "reference").iterdir())
    assert load_file(kept)["features"].shape == (48, 4)


def test_an_autoencoder_is_measured_by_its_reconstructions(tmp_path: Path) -> None:
    data, run = tiny.data(tmp_path), tmp_path / "run"
    shape = AutoencoderConfig(
        channels=1, latent_channels=4, patch=2, width=8, multipliers=(1, 1), blocks=1,
        middle_attention=False, code_conv=False, linear=True, norm_groups=4,
    )  # fmt: skip
    ask = TrainRequest(TrainConfig(updates=3, batch=8, precision="float32", condition_drop=0.0))
    list(train_autoencoder(data, run, shape, request=ask, world=World(device=CPU)))
    network = judge(tmp_path / "judge")
    asked = Evaluation(count=20, batch=4, judge=tmp_path / "judge", training=QUICK)
    *_, found = evaluate(run, data, asked, device=CPU)
    assert isinstance(found, Evaluated)
    measured = {m.name: m.value for m in found.report.measures}
    training, held = split(data, 0)
    assert held is not None and len(held) == 2
    autoencoder = load_autoencoder(own_folder(run)[0])
    with torch.no_grad():
        x = torch.cat([held.take(range(2)), training.take(range(18))])
        y = autoencoder(x).clamp(-1, 1)
        pair = (fit(network.features(z)) for z in (x, y))
    want = {
        "PSNR (dB)": float(psnr(y[:2], x[:2]).mean()),
        "reconstruction Frechet distance": frechet_distance(*pair),
    }
    assert measured == pytest.approx(want, rel=1e-4)
    assert "means over 2 pictures, held out" in found.report.notes[0]


def test_bad_input(tmp_path: Path) -> None:
    data = tiny.data(tmp_path)
    tiny.model(data).save(tmp_path / "model")
    for change, said in (
        ({"count": 5}, "count is 5: it must be from 6 to"),
        ({"judge": tmp_path, "features": tmp_path}, "either a judge or a pretrained network"),
    ):
        with pytest.raises(ValueError, match=said):
            dataclasses.replace(ASKED, **change)  # type: ignore[arg-type]
    few = data.subset(range(3))
    other = dataclasses.replace(data, shape=(3, 8, 8))
    for pictures, said in (
        (few, "tiny.npz has 3 samples; measuring takes at least 6"),
        (other, r"the model makes pictures of shape \[1, 8, 8\], but those of tiny.npz have"),
    ):
        with pytest.raises(ValueError, match=said):
            list(evaluate(tmp_path / "model", pictures, ASKED, device=CPU))
