"""The grammar of prompts: weights as a tree of brackets says, and no string that breaks it."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from inkdrop.conditioning.prompt import escape, parse
from inkdrop.conditioning.words import in_prompts

SYNTAX = st.sampled_from(
    ["AND", "BREAK", "ADDROW", "<lora:x:1>", "{a|b}", "__x__", "ab++", "(a)--", ").and(", " --ar ",
     "embedding:x", "a::2", "[a|b]", "[a:0.5]", "_", "\\", " ", "é", "(a)1.5"]
)  # fmt: skip
ANY = (
    st.text()
    | st.text(alphabet="()[]:\\1.0 -a한😀<>{|}_+", max_size=40)
    | st.lists(SYNTAX, max_size=8).map("".join)
)
LETTERS = st.text(alphabet="ab c:1한😀\n_+<{|", min_size=1, max_size=5)
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
        ("[a:b]", (("a:b", 1 / 1.1),)),
        (r"[a\:1.3]", (("a:1.3", 1 / 1.1),)),
        (r"a \AND \BREAK \<lora:x:1>", (("a AND BREAK <lora:x:1>", 1.0),)),
        ("BREAKFAST, brandy AND1 and break", (("BREAKFAST, brandy AND1 and break", 1.0),)),
        ("(a:b:2)", (("a:b", 2.0),)),
        ("(a:x)", (("a:x", 1.1),)),
        ("(:2)()[]", ()),
        ("(a", (("(a", 1.0),)),
        ("a:1.3) b]", (("a:1.3) b]", 1.0),)),
        ("a (b [c) d]", (("a ", 1.0), ("b [c", 1.1), (" d]", 1.0))),
    ],
)
def test_examples(prompt: str, expected: tuple[tuple[str, float], ...]) -> None:
    assert parse(prompt) == (expected,)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a BREAK b", ((("a", 1.0),), (("b", 1.0),))),
        ("a,\nBREAK\n(b:2)", ((("a,", 1.0),), (("b", 2.0),))),
        ("(a BREAK b:1.2)", ((("a", 1.2),), (("b", 1.2),))),
        ("a ( BREAK )b", ((("a", 1.0),), (("b", 1.0),))),
        ("BREAK a BREAK", ((), (("a", 1.0),), ())),
        ("a BREAK BREAK b", ((("a", 1.0),), (), (("b", 1.0),))),
    ],
)
def test_break_ends_a_part(prompt: str, expected: object) -> None:
    assert parse(prompt) == expected


@pytest.mark.parametrize(
    ("prompt", "found", "way"),
    [
        ("a <lora:x:0.8> cat", "<lora:x:0.8>", "--lora FILE:WEIGHT"),
        ("<LyCO:x>", "<LyCO:x>", "--lora FILE:WEIGHT"),
        ("a cat <lora:x:0.8", "<lora:x:0.8", "has no end"),
        ("< LORA:x, a cat", "< LORA:x, a cat", "has no end"),
        ("<hypernet:x:1>", "<hypernet:x:1>", "not available"),
        ("<embed:glow>", "<embed:glow>", "--embedding"),
        ("a embedding:glow.pt, b", "embedding:glow.pt", "--embedding"),
        ("<random:a,b>", "<random:a,b>", "write out the words"),
        ("a cat AND a dog", "AND", "--also WORDS WEIGHT"),
        ("a ADDROW b", "ADDROW", "regions"),
        ("[a:b:0.5]", "[a:b:0.5]", "(words:1.3)"),
        ("[a:0.5]", "[a:0.5]", "while sampling"),
        ("[a (b) : 12 ] c", "[a (b) : 12 ]", "while sampling"),
        ("a [cat|dog] b", "[cat|dog]", "while sampling"),
        ("{a|b} c", "{a|b}", "random"),
        ("{2$$a|b|c}", "{2$$a|b|c}", "random"),
        ("a __animal__ b", "__animal__", "wildcard"),
        ("__a/b-*__", "__a/b-*__", "wildcard"),
        ("a cat++ b", "cat++", "(words:1.3)"),
        ("a cat--, b", "cat--", "(words:1.3)"),
        ("(a cat)+", ")+", "(words:1.3)"),
        ("(a cat)1.5 b", ")1.5", "(words:1.3)"),
        ('("a", "b").and()', ".and(", "BREAK"),
        ('("a", "b").blend(1, 1)', ".blend(", "Compel"),
        ("cat.swap(dog)", ".swap(", "Compel"),
        ("a cat --ar 16:9", "--ar", "--size"),
        ("a cat::2 dog", "::", "Midjourney"),
        ("a cat:: dog", "::", "Midjourney"),
    ],
)
def test_the_syntax_of_others_is_refused_unless_it_is_escaped(
    prompt: str, found: str, way: str
) -> None:
    with pytest.raises(ValueError, match="the prompt has") as caught:
        parse(prompt)
    said = str(caught.value)
    assert f"the prompt has {found!r}, which" in said and way in said and "\n" not in said
    assert "backslash" in said
    # As it says: a backslash before the first mark of what was found makes it text.
    place = prompt.index(found)
    mark = place + next(i for i, c in enumerate(found) if c in "<:A[{_+-)(" or found[i:] == "AND")
    assert parse(prompt[:mark] + "\\" + prompt[mark:])
    assert parse(escape(prompt)) == (((prompt, 1.0),),)


@pytest.mark.parametrize(
    "prompt",
    [
        "C++ and c++", "a well-known (semi)-famous cat - black--white", "A+ or 18+", "and, break",
        "BRAND ANDROID", "a {curly} brace", "a | b", "3 < 4 > 2",
        "<my-word>", "f(x) = (a)/2", "10:30", "ratio 16:9", "snake_case __ and ____ blanks ______",
        "std::vector", "a book: the embedding: a layer", "it's 'quoted' - \"so\"", "x-- > 0 @ _-_",
        "[a, b: c]", "(1.5)", "(^_^)/ ¯\\_(ツ)_/¯", "--", "a -- b", "-1", "e.g. (a). and (b)",
    ],
)  # fmt: skip
def test_what_only_looks_like_it_is_text(prompt: str) -> None:
    assert parse(prompt)


def test_words_are_taken_before_the_grammar() -> None:
    words = in_prompts(["<my-word>", "(cat)", "[x:2]", "a AND b", "glow", "o_O:1.5"])
    for prompt, expected in {
        "a (cat) and ((cat):1.5)": (("a (cat) and ", 1.0), ("(cat)", 1.5)),
        "[x:2] [y]": (("[x:2] ", 1.0), ("y", 1 / 1.1)),
        "A AND B": (("A AND B", 1.0),),
        "(o_O:1.5)": (("o_O:1.5", 1.1),),
        "embedding:glow, (EMBEDDING:(cat):2)": (("glow, ", 1.0), ("(cat)", 2.0)),
        r"\(cat\) \[x\:2]": (("(cat) [x:2]", 1.0),),
    }.items():
        assert parse(prompt, words) == (expected,)
    with pytest.raises(ValueError, match="embedding:glower"):
        parse("embedding:glower", words)


@settings(deadline=None)
@given(trees())
def test_nested_brackets_multiply(tree: Tree) -> None:
    (segments,) = parse(written(tree))
    found = [(character, weight) for text, weight in segments for character in text]
    expected = weighed(tree)
    assert [character for character, _ in found] == [character for character, _ in expected]
    assert [weight for _, weight in found] == pytest.approx([weight for _, weight in expected])


@settings(deadline=None)
@given(ANY)
@example("\\")
@example("(\\)")
def test_an_escaped_text_is_said_as_it_is(text: str) -> None:
    assert parse(escape(text)) == (((text, 1.0),) if text else (),)


@settings(deadline=None)
@given(ANY)
def test_any_string_is_a_prompt(prompt: str) -> None:
    try:
        parts = parse(prompt)
    except ValueError:
        return  # an absurd weight or the syntax of others, see above and below
    rest = iter(prompt)  # nothing is added and nothing changes its place
    for segments in parts:
        assert all(text and math.isfinite(weight) for text, weight in segments)
        assert all(a[1] != b[1] for a, b in pairwise(segments))
        assert all(character in rest for text, _ in segments for character in text)


def test_many_brackets_are_read_at_once() -> None:
    # A search through all open brackets for each closing one would take minutes here.
    many = 50_000
    assert parse("[" * many + ")" * many) == ((("[" * many + ")" * many, 1.0),),)
    assert parse("(" * many + ")" * many) == ((),)
    for run in ("a", "1", " ", "-", "_", ")1", "{|", "__a", "<lora"):
        text = run * (many // 5)
        assert parse(text) == parse(escape(text)) == (((text, 1.0),),)
    with pytest.raises(ValueError, match="has no end"):
        parse("<lora:" * (many // 5))


@pytest.mark.parametrize(
    "prompt", ["(a:101)", "(a:-101)", "(" * 49 + "a" + ")" * 49, f"((a:0):{'9' * 400})"]
)
def test_an_absurd_weight_is_refused_in_words(prompt: str) -> None:
    with pytest.raises(ValueError, match=r"the prompt gives 'a' the weight .*from -100 to 100"):
        parse(prompt)


def test_an_absurd_weight_is_told_with_all_it_is_given_to() -> None:
    with pytest.raises(ValueError, match="gives 'lazy cat' the weight 1000"):
        parse("a (lazy cat:1000)")
