"""Formulas over the music: what they can say, and that they can do nothing else."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from metamusic.errors import SettingsError
from metamusic.formula import FUNCTIONS, LARGEST, VARIABLES, check_formula, evaluate

SILENCE = dict.fromkeys(VARIABLES, 0.0)
LOUD = dict.fromkeys(VARIABLES, 1.0)


@pytest.mark.parametrize(("formula", "changes", "value"), [
    ("2*bass - 0.5", {"bass": 0.75}, 1.0), ("(2*bass - 0.5)", {"bass": 0.75}, 1.0),
    ("max(bass, mid, 0.2)", {"mid": 0.6}, 0.6), ("min(1, 2)", {}, 1.0), ("abs(-beat)", {"beat": 0.4}, 0.4),
    ("sin(pi/2) + cos(0)", {}, 2.0), ("sqrt(treble)", {"treble": 0.25}, 0.5), ("-time", {"time": 3}, -3.0),
    ("1 if beat > 0.5 else -1", {"beat": 0.6}, 1.0), ("beat > 0.5", {"beat": 0.6}, 1.0),
    ("loudness**2", {"loudness": 0.5}, 0.25), ("time % 4 // 1", {"time": 6.5}, 2.0),
    ("not (bass > 0 and mid > 0 or onset)", {}, 1.0), ("1e300", {}, LARGEST), ("-100*time", {"time": 1}, -LARGEST),
])
def test_a_formula_has_its_value(formula, changes, value):
    check_formula(formula)
    assert evaluate(formula, SILENCE | changes) == pytest.approx(value)


@pytest.mark.parametrize("formula", ["1/bass", "bass/(mid - mid*bass)", "sqrt(bass - 0.7)", "(bass - 1)**0.5",
                                     "time % bass", "0**(-bass)"])
def test_what_is_undefined_at_some_moments_only_is_zero_there(formula):
    check_formula(formula)
    values = [evaluate(formula, SILENCE | {"bass": bass}) for bass in (0.0, 0.5, 1.0)]
    assert all(math.isfinite(value) for value in values) and 0.0 in values


@pytest.mark.parametrize(("formula", "named"), [
    ("2*wind", "'wind'"), ("bass.real", "Attribute"), ("bass.__class__", "Attribute"), ("'a'", "'a'"),
    ("\"a\"*9", "no number"), ("[bass for x in (1,)]", "ListComp"), ("[1][0]", "Subscript"), ("lambda: 1", "Lambda"),
    ("f'{bass}'", "JoinedStr"), ("(x := 1)", "NamedExpr"), ("bass if True else 1", "True"), ("2j", "2j"),
    ("__import__('os')", "no function"), ("open(1)", "no function"), ("rand()", "no function"), ("max()", "0 values"),
    ("max", "without calling"), ("min(bass)", "1 values"), ("sin(1, 2)", "instead of one"),
    ("max(bass, key=abs)", "names an argument"), ("max(1, *bass)", "Starred"), ("sin + 1", "without calling"),
    ("bass(1)", "no function"),
    ("sin(cos)", "without calling"), ("max() if bass == 0.33 else 1", "0 values"),
    ("1 << 9999", "LShift"), ("9**9**9**9", "too large"), ("9**9**9", "too large"), ("2**time", "too large"),
    ("1/0", "no number at any moment"), ("sqrt(-1)", "no number at any moment"), ("1e999", "no number at any"),
    ("", "cannot be read"), ("()", "Tuple"), ("2*", "cannot be read"), ("1; 2", "cannot be read"),
    ("import os", "cannot be read"), ("bass = 2", "cannot be read"), ("\x00", "cannot be read"),
    ("1" * 201, "200 characters"), ("-" * 199 + "1", "nested"), ("(" * 99 + "1" + ")" * 99, None),
])
def test_what_is_no_formula_is_refused_before_it_runs(formula, named):
    if named is None:
        assert evaluate(formula, SILENCE) == 1
        return
    with pytest.raises(SettingsError, match=named) as refusal:
        check_formula(formula)
    assert all(name in refusal.value.cure for name in (*VARIABLES, *FUNCTIONS, "pi"))


def test_a_complex_number_never_comes_about():
    check_formula("(bass - 0.9)**0.5 > 1")
    assert evaluate("(bass - 0.9)**0.5 > 1", SILENCE | {"bass": 0.33}) == 0


def test_a_moment_must_say_everything():
    with pytest.raises(KeyError):
        evaluate("bass", {"time": 1.0})


pieces = st.sampled_from([*VARIABLES, *FUNCTIONS, "pi", "+", "-", "*", "/", "//", "%", "**", "(", ")", ",", "9",
                          "0.1", " ", " if ", " else ", "<", "==", " not ", " and ", "1e308", ".", "'", "[", "]"])
moments = st.fixed_dictionaries({name: st.floats(0, 1) for name in VARIABLES} | {"time": st.floats(0, 86400)})


@given(st.lists(pieces, max_size=12).map("".join) | st.text(max_size=30), moments)
@example("9**999999999", LOUD)
@example("1/bass*mid", SILENCE)
def test_any_text_is_refused_or_has_a_value_at_every_moment(text, moment):
    try:
        check_formula(text)
    except SettingsError as refusal:
        assert refusal.cure
    else:
        assert -LARGEST <= evaluate(text, moment) <= LARGEST
