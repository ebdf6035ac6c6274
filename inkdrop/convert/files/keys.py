"""Key maps as data: they turn our name of a weight into another library's.

The way back is the same table read from the other side, because a network knows all its names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

# (pattern, replacement), applied one after another to a whole name.
Rules = Sequence[tuple[str, str]]

# Inside a residual block, a map's transformer, and a map's plain self-attention.
RESBLOCK: Rules = (
    (r"\.modulate\.", ".time_emb_proj."),
    (r"\.shortcut\.", ".conv_shortcut."),
)
TRANSFORMER: Rules = (
    (r"\.project_(in|out)\.", r".proj_\1."),
    (r"\.layers\.(?=\d+\.)", ".transformer_blocks."),
    (r"\.self_attention\.", ".attn1."),
    (r"\.cross_attention\.", ".attn2."),
    (r"\.([qkv])\.", r".to_\1."),
    (r"\.out\.", ".to_out.0."),
    (r"\.feed_forward\.first\.", ".ff.net.0.proj."),
    (r"\.feed_forward\.second\.", ".ff.net.2."),
)
ATTENTION: Rules = (
    (r"(attentions\.\d+)\.norm\.", r"\1.group_norm."),
    (r"(attentions\.\d+)\.attention\.([qkv])\.", r"\1.to_\2."),
    (r"(attentions\.\d+)\.attention\.out\.", r"\1.to_out.0."),
)


@dataclass(frozen=True)
class Naming:
    """Another library's names of a network's weights.

    places: our prefix of a name -> theirs; the longest that fits is replaced
    rules: applied to the name after that
    """

    places: Mapping[str, str]
    rules: Rules = ()

    def theirs(self, name: str) -> str:
        """Their name of our weight `name`."""
        parts = name.split(".")
        for count in range(len(parts) - 1, 0, -1):
            place = self.places.get(".".join(parts[:count]))
            if place is not None:
                name = ".".join([place, *parts[count:]])
                break
        return renamed(name, self.rules)

    def table(self, names: Iterable[str]) -> dict[str, str]:
        """Our name -> theirs for all weights of a network, where all of theirs differ."""
        theirs = {name: self.theirs(name) for name in names}
        assert len(set(theirs.values())) == len(theirs), "two weights have one foreign name"
        return theirs


def renamed(name: str, rules: Rules) -> str:
    """The name after all rules."""
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name
