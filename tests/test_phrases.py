"""The grammar of prompts: text, weight or formula, stop, place."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from metamusic.errors import SettingsError
from metamusic.phrases import (
    EVERYWHERE,
    PromptSpec,
    Where,
    format_prompts,
    parse_prompts,
    parse_weighted,
    parse_where,
)

DIGEST = "0123456789abcdef" * 4


def test_a_weight_alone_sets_no_stop():
    """MetaMusic's and Music2Video's parser appended ['1', '-inf'] here: stop became 1, the prompt silently dead."""
    assert parse_prompts("text:0.5") == (PromptSpec("text", weight=0.5, stop=-math.inf),)


@pytest.mark.parametrize(("line", "spec"), [
    ("storm:(2*bass - 0.5)", PromptSpec("storm", formula="(2*bass - 0.5)")),
    ("storm:(2*bass):0.3", PromptSpec("storm", stop=0.3, formula="(2*bass)")),
    ("storm : (bass) : -inf @ left", PromptSpec("storm", formula="(bass)", where="left")),
    ("(hello):0.5", PromptSpec("(hello)", 0.5)),
    ("sea (calm):0.5", PromptSpec("sea (calm)", 0.5)),
    ("storm:0.5:0.2 @ -sky", PromptSpec("storm", 0.5, 0.2, where="-sky")),
    ("a storm @ [C:\\masks\\sky.png]", PromptSpec("a storm", where="[C:\\masks\\sky.png]")),
    ("storm @-sky", PromptSpec("storm @-sky")),
    ("write to a@b.com:0.5", PromptSpec("write to a@b.com", 0.5)),
    ("meet @ noon @ the harbour", PromptSpec("meet @ noon", where="the harbour")),
    ("meet @ noon:2 @ everywhere", PromptSpec("meet @ noon", 2, where="everywhere")),
    ("rain at 12:30:1:-inf", PromptSpec("rain at 12:30")),
    ("x:-inf", PromptSpec("x:-inf")),
    ("C:\\pics\\sea.jpg:0.5", PromptSpec("C:\\pics\\sea.jpg", 0.5)),
    ("/a/b c.png", PromptSpec("/a/b c.png")),
    ("#7:-1", PromptSpec("#7", -1)),
    (f"{DIGEST}:0.5 @ left", PromptSpec(DIGEST, 0.5, where="left")),
    ("https://x/y.png", PromptSpec("https://x/y.png")),
    ("雨:0.5 @ 天空", PromptSpec("雨", 0.5, where="天空")),
])
def test_a_prompt_is_read_as_written(line, spec):
    assert parse_prompts(line) == (spec,)


@pytest.mark.parametrize(("line", "message"), [
    ("storm:(2*wind)", "wind"),
    ("storm:(bass", None),
    ("storm:0.5:(bass)", "formula where its stop"),
    (":(bass)", "no text"), (" : ", "no text"), ("@ left", "no text"), (":0.5 @ left", "no text"),
    ("storm @", "no place"), ("storm @ -", "leaves nothing"), ("storm @ -everywhere", "leaves nothing"),
    ("storm @ sky:0.5", "ends in a weight"), ("storm @ left:(bass)", "ends in a weight"),
    ("storm @ []", "square brackets"), ("storm @ [a|b.png]", "square brackets"),
    ("storm:11 @ left", "outside -10 to 10"),
])
def test_what_is_wrong_is_named(line, message):
    if message is None:  # an open bracket is text, as a lone colon is
        assert parse_prompts(line) == (PromptSpec(line),)
        return
    with pytest.raises(SettingsError, match=message) as refusal:
        parse_prompts(line)
    assert refusal.value.cure


def test_a_bar_in_a_path_is_explained():
    with pytest.raises(SettingsError) as refusal:
        parse_prompts("storm @ [a|b.png]")
    assert "cannot hold a |" in refusal.value.cure


@pytest.mark.parametrize(("line", "text"), [("rain at 12:30", "rain at 12:30"), ("sea: (dusk)", "sea: (dusk)")])
def test_the_cure_of_a_number_in_the_text_works(line, text):
    with pytest.raises(SettingsError) as refusal:
        parse_prompts(line)
    assert ":1:-inf" in refusal.value.cure
    assert parse_prompts(f"{line}:1:-inf") == (PromptSpec(text),)


@pytest.mark.parametrize(("text", "where"), [
    ("", EVERYWHERE), (" everywhere ", EVERYWHERE), ("left", Where("region", "left")),
    ("Top", Where("region", "top")), ("center", Where("region", "centre")),
    ("- border", Where("region", "border", True)), ("[#7]", Where("picture", "#7")),
    ("-[ a b.png ]", Where("picture", "a b.png", True)), ("-the sky", Where("words", "the sky", True)),
    ("red-brick wall", Where("words", "red-brick wall")),
])
def test_places(text, where):
    assert parse_where(text) == where


pieces = st.sampled_from(["storm", "a b", "12", ":", ":", "|", " @ ", "@", "(bass)", "(", ")", "-", "-inf", "0.5",
                          "30", "left", "[#7]", "everywhere", "C:\\x", " ", "\t", "#7", "雨", "1e-3", "(2*mid)"])


@given(st.lists(pieces, max_size=12).map("".join) | st.text(max_size=40))
@example("meet @ noon @ everywhere")
@example("rain:12:30:1:-inf")
def test_what_is_read_can_be_written_and_read_again(line):
    try:
        specs = parse_prompts(line)
    except SettingsError as refusal:
        assert refusal.message and refusal.cure
        return
    assert parse_prompts(format_prompts(specs)) == specs


numbers = st.floats(-10, 10).map(lambda value: value + 0.0)  # no -0
texts = st.text(st.characters(exclude_characters="|", exclude_categories=["C", "Z"]), min_size=1, max_size=20).filter(
    lambda text: text.strip(":"))


@given(st.lists(st.builds(PromptSpec, texts, numbers, numbers | st.just(-math.inf)), max_size=4))
def test_any_spec_can_be_written(specs):
    assert parse_prompts(format_prompts(specs)) == tuple(specs)


def test_the_written_form_is_short_and_keeps_every_digit():
    specs = (PromptSpec("sea"), PromptSpec("rain", 0.1 + 0.2), PromptSpec("dusk", 1, 0.25, "(bass)", "-sky"))
    assert format_prompts(specs) == "sea | rain:0.30000000000000004 | dusk:(bass):0.25 @ -sky"


def test_a_text_that_needs_its_weight_written_gets_it():
    assert format_prompts([PromptSpec("rain at 12:30")]) == "rain at 12:30:1:-inf"
    assert parse_prompts(format_prompts([PromptSpec("meet @ noon")]))[0].text == "meet @ noon"


@pytest.mark.parametrize("spec", [PromptSpec(""), PromptSpec("a|b"), PromptSpec("a", 11), PromptSpec("a", math.nan)])
def test_a_spec_no_line_can_say_is_refused(spec):
    with pytest.raises(SettingsError, match="cannot be written"):
        format_prompts([spec])


@pytest.mark.parametrize(("spec", "says"), [
    (PromptSpec("sea", where="sky:0.5"), "The place 'sky:0.5' ends in a weight"),
    (PromptSpec("sea", where="a|b"), "The place 'a|b' holds a |"),
    (PromptSpec("sea", where="a @ b"), "'a @ b' holds"),
    (PromptSpec("sea", formula="(wind)"), "'wind'")])
def test_the_part_that_no_line_can_say_is_named(spec, says):
    with pytest.raises(SettingsError) as refusal:
        format_prompts([spec])
    assert says in refusal.value.message and "PromptSpec" not in refusal.value.message


def test_weighted_names():
    assert parse_weighted(" sketch:0.5 | other || 7:-2 ", "judge") == (("sketch", 0.5), ("other", 1.0), ("7", -2.0))
    assert parse_weighted("", "judge") == ()


@pytest.mark.parametrize("line", ["sketch:", "sketch:much", ":0.5", "a:1:2", "a:11", "a:nan", "a:(bass)"])
def test_weighted_names_are_refused_with_what_they_are(line):
    with pytest.raises(SettingsError, match="judge") as refusal:
        parse_weighted(line, "judge")
    assert "name:weight" in refusal.value.cure
