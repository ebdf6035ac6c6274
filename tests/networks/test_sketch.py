"""The sketch of words: a weighted mean of them, whatever stands at padding."""

from __future__ import annotations

import torch

from inkdrop.networks.sketch import Sketch


def made() -> Sketch:
    torch.manual_seed(0)
    sketch = Sketch(10, 3, (2, 4, 4))
    for weight in sketch.parameters():
        torch.nn.init.normal_(weight)
    return sketch.requires_grad_(False)


def test_it_is_a_linear_map_of_the_share_of_each_word() -> None:
    sketch, ids = made(), torch.tensor([[3, 5, 3]])
    share = sketch.importance.weight[ids[0], 0].exp()
    share /= share.sum()
    said = share @ sketch.words.weight[ids[0]]
    want = (sketch.paint.weight @ said + sketch.paint.bias).view(2, 4, 4)
    got = sketch(ids, torch.ones_like(ids, dtype=torch.bool))
    torch.testing.assert_close(got[0], want)


def test_padding_and_order_do_not_matter() -> None:
    sketch = made()
    plain = sketch(torch.tensor([[3, 5]]), torch.tensor([[True, True]]))
    padded = sketch(torch.tensor([[5, 7, 3]]), torch.tensor([[True, False, True]]))
    torch.testing.assert_close(padded, plain)


def test_emphasis_moves_along_a_line_and_a_word_of_weight_0_is_not_said() -> None:
    sketch, ids, mask = made(), torch.tensor([[3, 5]]), torch.ones(1, 2, dtype=torch.bool)
    at = [sketch(ids, mask, torch.tensor([[1.0, w]])) for w in (0.0, 1.0, 2.0)]
    torch.testing.assert_close(at[2] - at[1], at[1] - at[0])
    share = sketch.importance.weight[ids[0], 0].softmax(0)[0]
    want = sketch.paint(share * sketch.words.weight[3]).view(1, 2, 4, 4)
    torch.testing.assert_close(at[0], want)


def test_a_new_one_says_nothing() -> None:
    new = Sketch(10, 3, (2, 4, 4))
    ids = torch.tensor([[1, 2]])
    assert not new(ids, torch.ones_like(ids, dtype=torch.bool)).any()
