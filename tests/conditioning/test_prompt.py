"""The grammar of prompts: weights as a tree of brackets says, and no string that breaks it."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from inkdrop.conditioning.prompt import escape, parse

ANY = st.text() | st.text(alphabet="()[]:\\1.0 -a한😀", max_size=40)
LETTERS = st.text(alphabet="ab c:1한😀\n", min_size=1, max_size=5)
Tree = list["str | tuple[str, str, Tree]"]


def trees() -> st.SearchStrategy[Tree]:
    """Texts and brackets with their marks: ("(", ":1.3)", inside)."""
    marks = st.sampled_from(
        [("(", ")"), ("[", "]"), ("(", ":1.3)"), ("(", ": 0.5 )"), ("(", ":-2)")]
    )
    return st.recursive(
        st.lists(LETTERS, max_size=3),
        lambda inside: st.lists(LETTERS | st.tuples(marks, inside).map(lambda x: (*x[0], x[1]))),
        max_leaves=10,
    )


def written(tree: Tree) -> str:
    return "".join(
        escape(node) if isinstance(node, str) else node[0] + written(node[2]) + node[1]
        for node in tree
    )


def weighed(tree: Tree, weight: float = 1.0) -> list[tuple[str, float]]:
    """Every character with its weight."""
    found = []
    for node in tree:
        if isinstance(node, str):
            found += [(character, weight) for character in node]
        else:
            opening, closing, inside = node
            plain = {"()": 1.1, "[]": 1 / 1.1}
            number = closing.strip(":) ")
            factor = float(number) if opening == "(" and number else plain[opening + closing]
            found += weighed(inside, weight * factor)
    return found


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("", ()),
        ("a red dog", (("a red dog", 1.0),)),
        ("a (red:1.3) dog", (("a ", 1.0), ("red", 1.3), (" dog", 1.0))),
        ("a (red) [dog]", (("a ", 1.0), ("red", 1.1), (" ", 1.0), ("dog", 1 / 1.1))),
        ("((a:1.5) b: 2)", (("a", 3.0), (" b", 2.0))),
        ("(붉은 🐕:.5)", (("붉은 🐕", 0.5),)),
        (r"a \(red\) \[dog\] \\", (("a (red) [dog] \\", 1.0),)),
        (r"(at 10\:30)", (("at 10:30", 1.1),)),
        (r"a\b", ((r"a\b", 1.0),)),
        ("[a:1.3]", (("a:1.3", 1 / 1.1),)),
        ("(a:b:2)", (("a:b", 2.0),)),
        ("(a:x)", (("a:x", 1.1),)),
        ("(:2)()[]", ()),
        ("(a", (("(a", 1.0),)),
        ("a:1.3) b]", (("a:1.3) b]", 1.0),)),
        ("a (b [c) d]", (("a ", 1.0), ("b [c", 1.1), (" d]", 1.0))),
    ],
)
def test_examples(prompt: str, expected: tuple[tuple[str, float], ...]) -> None:
    assert parse(prompt) == expected


@settings(deadline=None)
@given(trees())
def test_nested_brackets_multiply(tree: Tree) -> None:
    found = [(character, weight) for text, weight in parse(written(tree)) for character in text]
    expected = weighed(tree)
    assert [character for character, _ in found] == [character for character, _ in expected]
    assert [weight for _, weight in found] == pytest.approx([weight for _, weight in expected])


@settings(deadline=None)
@given(ANY)
@example("\\")
@example("(\\)")
def test_an_escaped_text_is_said_as_it_is(text: str) -> None:
    assert parse(escape(text)) == (((text, 1.0),) if text else ())


@settings(deadline=None)
@given(ANY)
def test_any_string_is_a_prompt(prompt: str) -> None:
    try:
        segments = parse(prompt)
    except ValueError:
        return  # an absurd weight, see below
    assert all(text and math.isfinite(weight) for text, weight in segments)
    assert all(a[1] != b[1] for a, b in pairwise(segments))
    rest = iter(prompt)  # nothing is added and nothing changes its place
    assert all(character in rest for text, _ in segments for character in text)


def test_many_brackets_are_read_at_once() -> None:
    # A search through all open brackets for each closing one would take minutes here.
    many = 50_000
    assert parse("[" * many + ")" * many) == (("[" * many + ")" * many, 1.0),)
    assert parse("(" * many + ")" * many) == ()


@pytest.mark.parametrize(
    "prompt", ["(a:101)", "(a:-101)", "(" * 49 + "a" + ")" * 49, f"((a:0):{'9' * 400})"]
)
def test_an_absurd_weight_is_refused_in_words(prompt: str) -> None:
    with pytest.raises(ValueError, match=r"the prompt gives 'a' the weight .*from -100 to 100"):
        parse(prompt)


def test_an_absurd_weight_is_told_with_all_it_is_given_to() -> None:
    with pytest.raises(ValueError, match="gives 'lazy cat' the weight 1000"):
        parse("a (lazy cat:1000)")
