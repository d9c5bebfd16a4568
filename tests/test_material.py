"""The pictures that settings name: found wherever they stand, and replaced without touching anything else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metamusic.errors import PictureError, SettingsError
from metamusic.material import Material, is_digest, places, references, render_id_of, with_references
from metamusic.phrases import parse_prompts
from metamusic.settings import RenderSettings

SEA, FOX = "5e" * 32, "f0" * 32


def test_a_digest_is_64_small_hex_digits():
    assert is_digest(SEA)
    for other in ("", "5e", SEA + "0", SEA.upper(), "g" * 64, f" {SEA}", SEA + "\n"):
        assert not is_digest(other)


@pytest.mark.parametrize(("reference", "number"), [
    ("#7", 7), ("#123456", 123456), ("7", None), ("#", None), ("#0", None), ("#07", None), ("#7a", None),
    ("# 7", None), ("#-7", None), ("#٧", None), ("a#7", None), ("#9999999999999", None), ("#7\n", None)])
def test_a_render_is_named_by_a_hash_and_its_number(reference, number):
    assert render_id_of(reference) == number


def test_every_place_that_names_a_picture_is_found_once():
    settings = RenderSettings(
        image_prompts=r"C:\pictures\a 1:2.png:0.5:0.2 @ [mask.png] | #7 | " + SEA, target=" t.jpg ",
        text="storm @ -[sky.png] | a photo of [me] @ left | b@[no.png] | fox @ [#8]",
        story="0:00 an owl @ [owl.png] | x @ sky {zoom=0.1}\n0:10 a fox @ [sky.png]")
    assert references(settings) == [r"C:\pictures\a 1:2.png", "#7", SEA, "t.jpg", "sky.png", "#8", "mask.png",
                                    "owl.png"]
    assert places(settings)["owl.png"] == "story" and places(settings)["mask.png"] == "image_prompts"
    assert references(RenderSettings()) == []


def test_references_are_replaced_where_they_stand_and_nowhere_else():
    settings = RenderSettings(
        image_prompts="sea.png:0.5:0.2 @ -[sea.png] | fox.png", target=" sea.png ",
        text="sea.png:1.5 @ [sea.png]", story="0:00 sea.png @ [sea.png]  {zoom=0.1} ^ 0:10   an owl @ -[ fox.png ]")
    found = with_references(settings, {"sea.png": SEA, "fox.png": FOX})
    assert [(p.text, p.weight, p.stop, p.where) for p in parse_prompts(found.image_prompts)] == [
        (SEA, 0.5, 0.2, f"-[{SEA}]"), (FOX, 1.0, float("-inf"), "")]
    assert found.target == SEA and parse_prompts(found.text)[0].text == "sea.png"
    assert found.text.endswith(f"@ [{SEA}]")
    assert found.story == f"0:00 sea.png @ [{SEA}]  {{zoom=0.1}} ^ 0:10   an owl @ -[{FOX}]"
    assert references(found) == [SEA, FOX]


def test_what_names_no_picture_stays_as_it_was_written():
    settings = RenderSettings(text="  a  sea |storm : 0.50 ", story="0:00  fog ^0:07 [sun]", image_prompts=f" {SEA} ")
    assert with_references(settings, {"a.png": FOX}) == settings


@given(st.lists(st.text("ab[]()*+\\.$^?{} 雨:#-", min_size=1, max_size=12), min_size=1, max_size=3, unique=True))
def test_any_name_is_found_again_after_it_was_replaced(names):
    line = " | ".join(f"{name}:0.5" for name in names)
    try:
        settings = RenderSettings(image_prompts=line)
        before = references(settings)
    except SettingsError:
        return
    found = {name: f"{number:064x}" for number, name in enumerate(before)}
    assert references(with_references(settings, found)) == list(found.values())


def test_prompts_that_cannot_be_read_are_refused():
    with pytest.raises(SettingsError, match="no text"):
        references(RenderSettings(image_prompts=":0.5"))
    with pytest.raises(SettingsError, match="Line 2"):
        references(RenderSettings(story="0:00 a\n0:10 b {nonsense=1}"))


def test_a_picture_that_did_not_come_along_is_told():
    pixels = np.zeros((2, 3, 3), np.uint8)
    material = Material({SEA: pixels})
    assert material.get(SEA) is pixels
    for empty in (material, Material()):
        with pytest.raises(PictureError, match=FOX[:12]) as refusal:
            empty.get(FOX)
        assert refusal.value.cure
