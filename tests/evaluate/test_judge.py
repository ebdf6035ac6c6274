"""A judge learns two label sets, says the same in any batch, and comes back from its folder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from inkdrop.evaluate.judge import UNKNOWN, Judge, JudgeConfig, cross_entropies

TINY = JudgeConfig(
    heads={"half": ("above", "below"), "tone": ("dark", "mid", "bright")},
    channels=1,
    widths=(8, 16),
    features=12,
    norm_groups=4,
)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def drawn(count: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Pictures [N, 1, 8, 8] with a square above or below, of three tones, in some noise."""
    half, tone = torch.randint(0, 2, (count,)), torch.randint(0, 3, (count,))
    x = 0.1 * torch.randn(count, 1, 8, 8) - 0.8
    for i in range(count):
        top = 5 * int(half[i]) + int(torch.randint(0, 2, ()))
        x[i, :, top : top + 2, 1:7] += 0.5 * (1 + float(tone[i]))
    return x.clamp(-1, 1), {"half": half, "tone": tone}


def trained() -> Judge:
    judge = Judge(TINY)
    optimizer = torch.optim.AdamW(judge.parameters(), lr=5e-3)
    for _ in range(60):
        optimizer.zero_grad()
        judge.loss(*drawn(32)).backward()
        optimizer.step()
    return judge.eval()


@torch.no_grad()
def test_it_learns_both_heads_and_its_features_hold_them() -> None:
    with torch.enable_grad():
        judge = trained()
    x, labels = drawn(300)
    for name, logits in judge(x).items():
        assert logits.shape == (300, len(TINY.heads[name]))
        assert (logits.argmax(1) == labels[name]).float().mean() > 0.95
    features = judge.features(x).numpy()
    both = (3 * labels["half"] + labels["tone"]).numpy()
    linear = LogisticRegression(max_iter=1000).fit(features[:200], both[:200])
    assert np.mean(linear.predict(features[200:]) == both[200:]) > 0.9


def test_loss_is_the_sum_over_heads() -> None:
    judge, (x, labels) = Judge(TINY), drawn(20)
    said = judge(x)
    expected = -sum(
        logits.log_softmax(1)[range(20), labels[name]].mean() for name, logits in said.items()
    )
    torch.testing.assert_close(judge.loss(x, labels), expected)
    with pytest.raises(ValueError, match="there are labels for half, but the heads are half, tone"):
        judge.loss(x, {"half": labels["half"]})


def test_a_picture_has_the_same_features_in_any_batch_and_mode() -> None:
    judge, (x, _) = Judge(TINY).double(), drawn(7)
    together = judge.features(x)
    assert together.shape == (7, 12) and together.dtype == torch.float64
    torch.testing.assert_close(together[2:3], judge.eval().features(x[2:3]))


def test_any_size_that_its_levels_leave_a_pixel_of() -> None:
    judge = Judge(TINY)
    assert judge.features(torch.zeros(1, 1, 2, 5)).shape == (1, 12)
    for shape in ((1, 1, 1, 8), (1, 3, 8, 8), (1, 8, 8)):
        with pytest.raises(ValueError, match=r"\[B, 1, H, W\] with sides of at least 2"):
            judge.features(torch.zeros(shape))


def test_a_patch_is_read_as_the_pixels_it_folds() -> None:
    config = JudgeConfig(TINY.heads, channels=1, patch=2, widths=(8,), features=4, norm_groups=4)
    judge, x = Judge(config), torch.randn(2, 1, 6, 4)
    assert judge.input.weight.shape == (8, 4, 3, 3)
    assert judge.features(x).shape == (2, 4)
    moved = torch.cat([x[..., 2:], x[..., :2]], -1)  # by a whole patch
    swapped = x[..., [1, 0, 3, 2]]
    assert not torch.allclose(judge.features(x), judge.features(moved))
    assert not torch.allclose(judge.features(x), judge.features(swapped))
    with pytest.raises(ValueError, match="sides that are multiples of 2"):
        judge.features(torch.zeros(1, 1, 5, 4))


def test_an_unknown_label_costs_nothing() -> None:
    judge, (x, labels) = Judge(TINY), drawn(4)
    said = judge(x)
    some = {**labels, "tone": labels["tone"].clone()}
    some["tone"][1] = UNKNOWN
    whole, part = cross_entropies(said, labels), cross_entropies(said, some)
    own = -said["tone"].log_softmax(1)[1, labels["tone"][1]]
    torch.testing.assert_close(whole[1] - part[1], own)
    assert torch.equal(whole[[0, 2, 3]], part[[0, 2, 3]])


def test_a_round_trip_is_exact_and_frozen(tmp_path: Path) -> None:
    judge, (x, _) = Judge(TINY), drawn(5)
    judge.save(tmp_path / "judge")
    again = Judge.load(tmp_path / "judge")
    assert again.config == TINY and again.fingerprint == judge.fingerprint
    assert torch.equal(again.features(x), judge.features(x))
    assert not again.training and not any(p.requires_grad for p in again.parameters())
    assert sorted(p.name for p in (tmp_path / "judge").iterdir()) == [
        "model.json",
        "network.safetensors",
    ]


def test_the_fingerprint_knows_weights_and_configuration() -> None:
    judge = Judge(TINY)
    before = judge.fingerprint
    with torch.no_grad():
        judge.output.bias[0] += 1e-6
    assert judge.fingerprint != before
    renamed = JudgeConfig(**{**vars(TINY), "heads": {"part": ("a", "b"), "tone": ("c", "d", "e")}})
    other = Judge(renamed)
    other.load_state_dict(judge.state_dict())
    assert other.fingerprint != judge.fingerprint


def test_faults_of_a_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no model\.json"):
        Judge.load(tmp_path)
    Judge(TINY).save(tmp_path / "judge")
    file = tmp_path / "judge" / "model.json"
    whole = json.loads(file.read_text())
    file.write_text(json.dumps({**whole, "judge": {**whole["judge"], "width": [8]}}))
    with pytest.raises(ValueError, match="Did you mean 'widths'"):
        Judge.load(tmp_path / "judge")
    file.write_text(json.dumps({**whole, "judge": {**whole["judge"], "features": 13}}))
    with pytest.raises(ValueError, match="has other shapes for 4 weights"):
        Judge.load(tmp_path / "judge")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"heads": {}}, "heads or widths is empty"),
        ({"heads": {"half": ("above",)}}, "'half' has 1 labels"),
        ({"widths": (8, 10)}, "widths contains 10, not a multiple of norm_groups, 4"),
        ({"features": 0}, "features is 0"),
    ],
)
def test_configurations_that_cannot_be_built(change: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        JudgeConfig(**{**vars(TINY), **change})
