import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxopt.errors import BadPipeline
from onnxopt.pipeline.grammar import Element, OptionText, parse, to_text
from onnxopt.pipeline.values import quote


def test_the_design_examples() -> None:
    assert parse("fold-constants,prune{sparsity=0.3},quantize{method=entropy per-channel}") == (
        Element("fold-constants"),
        Element("prune", (OptionText("sparsity", "0.3"),)),
        Element("quantize", (OptionText("method", "entropy"), OptionText("per-channel", None))),
    )
    assert parse("repeat{max=8}(a,b)") == (Element("repeat", (OptionText("max", "8"),), (Element("a"), Element("b"))),)


def test_white_space_and_lines_are_free() -> None:
    assert parse(" a ,\n  repeat { max=8\n y } (\n b ) \n") == parse("a,repeat{max=8 y}(b)")


def test_values_are_kept_as_written() -> None:
    (element,) = parse(r'a{list=x,y quoted="b {c} \" d" empty= path=C:\x}')
    assert [option.value for option in element.options] == ["x,y", r'"b {c} \" d"', "", r"C:\x"]


def test_empty_braces_are_no_options() -> None:
    assert parse("a{}") == parse("a")


def test_elements_know_where_they_stand() -> None:
    text = "a,bee{key=1,2}(c)"
    element = parse(text)[1]
    spans = [element.name_at, element.body_at, element.options[0].key_at, element.options[0].value_at]
    assert [text[start:end] for start, end in spans] == ["bee", "(c)", "key", "1,2"]


ERRORS = """
the name of a pass is missing here
    a,,b
      ^

the name of a pass is missing here
    a,
      ^

the name of a pass is missing here
    repeat()
           ^

the name of a pass is missing here
    3d-fold
    ^

a comma is missing before this
    fold-constants simplify
                   ^

options go in braces: name{key=value}
    prune=0.3
         ^

this } closes nothing
    a}
     ^

this ) closes nothing
    a)
     ^

this ( is never closed
    repeat(a,b
          ^

this { is never closed
    a{x=1 y=2
     ^

this quote is never closed
    a{x="1 y=2}
        ^

a value with a brace goes in double quotes: "{"
    a{x={1}}
        ^

options are separated by white space, not commas; quote a value that has an =
    a{x=1,y=2}
           ^

options are separated by white space, not commas; quote a value that has an =
    a{x=1, y=2}
         ^

the name of an option is missing here; write {key=value key=value}
    a{x = 1}
        ^

white space goes between options, and = before a value
    a{x,y}
       ^

option per_channel is given twice
    a{per-channel x per_channel=true}
                    ^^^^^^^^^^^
"""


@pytest.mark.parametrize("expected", ERRORS.strip("\n").split("\n\n"))
def test_an_error_points_at_the_place(expected: str) -> None:
    text = expected.splitlines()[1].strip()
    with pytest.raises(BadPipeline) as caught:
        parse(text)
    assert str(caught.value) == expected


@pytest.mark.parametrize("text", ["", " \n "])
def test_an_empty_text_is_no_pipeline(text: str) -> None:
    with pytest.raises(BadPipeline, match="the name of a pass is missing here"):
        parse(text)


def test_only_the_line_with_the_error_is_shown() -> None:
    with pytest.raises(BadPipeline) as caught:
        parse("a,\n\tb c,\nd")
    assert str(caught.value) == "a comma is missing before this\n     b c,\n       ^"


def test_a_long_line_is_cut_round_the_error() -> None:
    with pytest.raises(BadPipeline) as caught:
        parse("a," * 500 + "b c" + ",d" * 500)
    _, line, carets = str(caught.value).splitlines()
    assert len(line) < 120
    assert line.strip().startswith("...") and line.endswith("...")
    assert line[carets.index("^")] == "c"


def test_nesting_is_limited() -> None:
    parse("r(" * 32 + "a" + ")" * 32)
    with pytest.raises(BadPipeline, match="nested more than 32 deep"):
        parse("r(" * 100_000)


ALPHABET = st.sampled_from([*'ab-_1,{}()=" \n\\', "é", "\u2028", "\x1b"])


@settings(max_examples=500, deadline=None)
@given(st.text() | st.text(ALPHABET))
def test_any_text_is_a_pipeline_or_an_error_with_a_caret(text: str) -> None:
    try:
        elements = parse(text)
    except BadPipeline as error:
        assert len(str(error).split("\n")) == 3
        assert str(error).endswith("^")
    else:
        assert parse(to_text(elements)) == elements


NAMES = st.from_regex(r"[a-zA-Z_][a-z0-9-]{0,5}", fullmatch=True)
VALUES = st.none() | st.text().map(quote) | st.lists(st.text().map(quote), max_size=3).map(",".join)
OPTIONS = st.lists(
    st.builds(OptionText, NAMES, VALUES), max_size=3, unique_by=lambda option: option.key.replace("_", "-")
).map(tuple)
ELEMENTS = st.recursive(
    st.builds(Element, NAMES, OPTIONS),
    lambda inner: st.builds(Element, NAMES, OPTIONS, st.lists(inner, min_size=1, max_size=3).map(tuple)),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.lists(ELEMENTS, min_size=1, max_size=4).map(tuple))
def test_what_is_printed_is_parsed_back(elements: tuple[Element, ...]) -> None:
    assert parse(to_text(elements)) == elements
