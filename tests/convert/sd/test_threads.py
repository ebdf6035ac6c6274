"""One loaded model, two prompts from two threads: right and different."""

from __future__ import annotations

from pathlib import Path
from threading import Thread

import pipelines
import pytest
import torch
from torch import Tensor

from inkdrop.convert.open import open_checkpoint
from inkdrop.engines import prepare
from inkdrop.model import Model, Prompt
from inkdrop.tasks.generate import generate
from inkdrop.tasks.sampling import Sampling

WORDS = ("a photo of a red fox", "two green hills, at night")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sd15")
    pipelines.saved(path, "sd15")
    return path


def drawn(model: Model, words: str) -> Tensor:
    for step in generate(model, conditions=[Prompt(words)], sampling=Sampling(steps=6, reuse=2)):
        x = step.x
    return model.codec.decode(x)


@pytest.mark.parametrize("engine", ["eager", "packed"])
def test_two_prompts_from_two_threads(folder: Path, engine: str) -> None:
    model = prepare(open_checkpoint(folder)[0].sized(64, 40), engine)
    wanted = [drawn(model, words) for words in WORDS]
    assert (wanted[0] - wanted[1]).abs().max() > 1e-3
    found = dict[str, Tensor]()
    threads = [
        Thread(target=lambda words=words: found.update({words: drawn(model, words)}))
        for words in WORDS
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for words, picture in zip(WORDS, wanted, strict=True):
        assert torch.equal(found[words], picture)
