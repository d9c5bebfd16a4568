"""Timed lyrics: three formats, one list of lines; and who acts when."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metamusic.errors import SettingsError
from metamusic.lyrics import LONGEST, Line, format_lyrics, parse_lyrics, read_clock, read_lyrics, sung, within
from metamusic.settings import RenderSettings

LRC = ("\ufeff[ar:Somebody]\r\n[offset:+250]\r\n[length: 03:20]\r\n[Chorus]\r\n\r\n"
       "[00:12.00][00:40.00]refrain, twice\r\n[00:16.50]<00:16.5>one <00:17.2>word\r\n[00:20.25]\r\n"
       "[1:02:03.5] late\r\n")
SRT = """1
00:00:01,000 --> 00:00:03,500
<i>Rain &amp; wind</i>
{\\an8}over the sea

2
00:00:02,000 --> 00:00:04,000 X1:0
I <3 you
"""


def test_lrc():
    assert parse_lyrics(LRC) == (
        Line(11.75, 16.25, "refrain, twice"), Line(16.25, 20.0, "one word"),  # the empty stamp ends it
        Line(39.75, 47.75, "refrain, twice"), Line(3723.25, 3731.25, "late"))


def test_an_lrc_offset_stops_at_the_beginning():
    assert parse_lyrics("[offset:9000]\n[0:05]a\n[0:20]b") == (Line(0, 8, "a"), Line(11, 19, "b"))
    assert parse_lyrics("[offset:-1000]\n[offset:]\n[0:05]a") == (Line(5, 13, "a"),)
    assert parse_lyrics("[0:05]a\n[offset:-1000]") == (Line(6, 14, "a"),)


def test_srt():
    assert parse_lyrics(SRT) == (Line(1, 3.5, "Rain & wind over the sea"), Line(2, 4, "I <3 you"))
    assert parse_lyrics(SRT.replace("\n", "\r\n")) == parse_lyrics(SRT)


@pytest.mark.parametrize(("text", "lines"), [
    ("timestamp,text\n00:12,hello\n00:15.5,world\n", (Line(12, 15.5, "hello"), Line(15.5, 23.5, "world"))),
    ('0:12, "hello, ""you""",0.5,0:14', (Line(12, 14, 'hello, "you"', 0.5),)),
    ("start,text,weight,end\n1:00:00,x,,1:00:02\n", (Line(3600, 3602, "x"),)),
    ("Start,Weight,Text\n0:01,-2,rain", (Line(1, 9, "rain", -2),)),
    ("0:05,b\n0:01,a\n0:07,\n", (Line(1, 5, "a"), Line(5, 7, "b"))),                # sorted; an empty text ends
    ("0:05,a\n0:05,b\n0:06,c", (Line(5, 6, "a"), Line(5, 6, "b"), Line(6, 14, "c"))),  # both count
    ("75:30,late", (Line(4530, 4538, "late"),)), ("24:00:00,end", (Line(86400, 86408, "end"),)),
    ("0:01,雨が降る\n0:04,meet me at 12:30:2", (Line(1, 4, "雨が降る"), Line(4, 12, "meet me at 12:30:2"))),
    ("", ()), ("\ufeff \r\n", ()),
])
def test_csv(text, lines):
    assert parse_lyrics(text) == lines


@pytest.mark.parametrize(("text", "message"), [
    ("hello world", "Line 1 .*not a time and a text"), ("0:01,a\n\nx,b", "Line 3 .*is no time"),
    ("-0:05,a", "Line 1 .*is no time"), ("0:75,a", "is no time"), ("0:5,a", "is no time"), ("12.5,a", "is no time"),
    ("00:12:99,a", "is no time"), ("24:00:01,a", "beyond 24 hours"), ("999999999:00,a", "beyond 24 hours"),
    ("0:12,hello, world", 'Line 1 .*more than'), ("0:12,a,11", "more than"), ("0:12,a,nan", "more than"),
    ("0:12,a,1,0:13,x", "more than"), ("0:12,a,1,0:12", "ends before"), ("0:12,a,1,soon", "is no time"),
    ('0:12,"a\n0:13,b"', "Line 1 .*quotation"), ('0:12,"a" b', "Line 1 .*quotation"),
    ("start,wind\n0:12,a", "header"), ("start,start,text\n", "header"), ("time,weight\n0:12,1", "header"),
    ("start,text\n", "no timed line"), ("0:12,\n", "no timed line"), ("[ar:x]\n", "no timed line"),
    ("[00:12:50]a", "hours or hundredths"), ("[00:75.00]a", "Line 1 .*is no time"), ("[0:1]a", "is no time"),
    ("[0:01]a\nb", "Line 2 .*'b', has no time"), ("[0:01]a\n[offset:soon]", "Line 2 .*milliseconds"),
    ("1\n00:12.000 --> 00:13.000\nvtt", "Line 2 .*pair of times"),
    ("1\n00:00:12,5 --> 00:00:13,000\nx", "Line 2 .*pair of times"),
    ("WEBVTT\n\n00:00:12.000 --> 00:00:13.000\nx", "Line 1 .*'WEBVTT', belongs to no cue"),
    ("1\n00:00:12,000 --> 00:00:11,000\nx", "Line 2 .*ends before"),
    ("1\n99:00:12,000 --> 99:00:13,000\nx", "Line 2 .*beyond 24 hours"),
    ("1\n99999999999999:00:12,000 --> 99999999999999:00:13,000\nx", "pair of times"),
    ("9" * 5000 + ":00,a", "is no time"), ("9" * 5000 + "\n00:00:01,000 --> 00:00:02,000\na", "cannot be read"),
    ("1\n00:00:01,000 --> 00:00:02,000\n", "no timed line"),
])
def test_what_cannot_be_read_is_named_by_its_line(text, message):
    with pytest.raises(SettingsError, match=message) as refusal:
        parse_lyrics(text)
    assert refusal.value.cure


def test_the_cure_of_an_unquoted_comma_works():
    assert parse_lyrics('0:12,"hello, world"') == (Line(12, 20, "hello, world"),)


times = st.integers(0, 86_400_000).map(lambda milliseconds: milliseconds / 1000)
words = st.text(st.characters(exclude_categories=["C"]) | st.sampled_from('",[]:\'->'), min_size=1, max_size=15)


@st.composite
def some_lines(draw):
    starts = sorted(draw(st.lists(times.filter(lambda start: start < 86399), min_size=1, max_size=6)))
    return tuple(
        Line(start, round(min(start + draw(st.integers(1, 20_000)) / 1000, 86400), 3),
             draw(words.map(lambda text: " ".join(text.split())).filter(bool)), draw(st.floats(-10, 10)))
        for start in starts)


@given(some_lines())
def test_lines_can_be_written_and_read_again(lines):
    assert parse_lyrics(format_lyrics(lines)) == lines


pieces = st.sampled_from(["[0:01]", "[00:02.50]", "[offset:", "]", "0:03", ",", "\n", "\r\n", "\n\n", "a", '"', "1\n",
                          "00:00:01,000 --> 00:00:02,000", " --> ", "text", "start,text", "<i>", "24:00:00",
                          "\ufeff"])


@given(st.lists(pieces, max_size=14).map("".join) | st.text(max_size=60))
def test_any_text_is_read_or_refused_with_a_cure(text):
    try:
        lines = parse_lyrics(text)
    except SettingsError as refusal:
        assert refusal.cure
    else:
        assert all(line.text and 0 <= line.start_s < line.end_s for line in lines)
        assert [line.start_s for line in lines] == sorted(line.start_s for line in lines)
        assert not lines or parse_lyrics(format_lyrics(lines)) == lines


@pytest.mark.parametrize(("text", "seconds"), [
    ("0:05", 5), ("12:30.25", 750.25), ("1:02:03", 3723), ("90:00", 5400), ("0:5", None), ("1:60", None),
    ("1:60:00", None), ("5", None), ("0:05 x", None), ("٠:٠٥", None), ("", None),
])
def test_clock(text, seconds):
    assert read_clock(text) == seconds


# -- files --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_files_of_any_usual_encoding_are_read(tmp_path, encoding):
    path = tmp_path / "song.lrc"
    path.write_bytes("[0:01]Señor’s café\r\n[0:02]\r\n".encode(encoding))
    assert parse_lyrics(read_lyrics(path)) == (Line(1, 2, "Señor’s café"),)


@pytest.mark.parametrize(("content", "message"), [
    (None, "cannot be read"), (b"\x89PNG\r\n\x1a\n\0\0\0", "not a text"), (b"\xff\xfe\x00", "not a text"),
    (b"", "empty"), (b"just words", "not a time"), (b"0:01,a\n" * 9000, "60,000"),
    (b"0:01," + "雨".encode() * 100_000, "60,000"),
])
def test_files_that_are_no_lyrics_are_refused(tmp_path, content, message):
    path = tmp_path / "song.lrc"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError, match=message) as refusal:
        read_lyrics(path)
    assert refusal.value.cure


def test_a_folder_is_no_lyrics(tmp_path):
    with pytest.raises(SettingsError, match="cannot be read"):
        read_lyrics(tmp_path)


def test_a_file_may_be_as_long_as_the_setting():
    RenderSettings.parse({"lyrics": "x" * LONGEST})
    with pytest.raises(SettingsError):
        RenderSettings.parse({"lyrics": "x" * (LONGEST + 1)})


# -- who acts when ------------------------------------------------------------------------------------


TWO = (Line(10, 14, "a"), Line(14, 16, "b"))


def test_without_a_fade_a_line_acts_from_its_start_to_before_its_end():
    assert [sung(TWO, time, 0) for time in (9.999, 10, 13.999, 14, 15.999, 16)] == [
        [], [(0, 1)], [(0, 1)], [(1, 1)], [(1, 1)], []]


@pytest.mark.parametrize(("time", "shares"), [
    (9.5, []), (9.75, [(0, 0.25)]), (10, [(0, 0.5)]), (10.5, [(0, 1)]), (13.75, [(0, 0.75), (1, 0.25)]),
    (14, [(0, 0.5), (1, 0.5)]), (14.5, [(1, 1)]), (16.25, [(1, 0.25)]), (16.5, []),
])
def test_lines_come_and_go_and_cross_fade(time, shares):
    assert sung(TWO, time, 1) == shares


def test_a_fade_never_passes_the_middle_of_a_line():
    lines = (Line(0, 10, "long"), Line(10, 11, "short"), Line(11.2, 20, "long"))
    assert sung(lines, 10.5, 60) == [(1, 1)]
    assert dict(sung(lines, 5.0, 60)) == {0: 1}


def test_lines_at_the_same_time_act_both():
    lines = (Line(0, 4, "a"), Line(0, 4, "b"), Line(4, 8, "c"))
    assert sung(lines, 2, 1) == [(0, 1), (1, 1)]
    assert sung(lines, 4, 1) == [(0, 0.5), (1, 0.5), (2, 0.5)]


@given(st.lists(st.integers(1, 5000), min_size=2, max_size=6), st.integers(0, 1000), st.floats(0, 12))
def test_lines_that_meet_add_up_to_one(lengths, place, fade):
    borders = [0.0]
    for length in lengths:
        borders.append(borders[-1] + length / 1000)
    lines = [Line(start, end, "x") for start, end in zip(borders, borders[1:], strict=False)]
    first, last = (lines[0].end_s) / 2, (lines[-1].start_s + lines[-1].end_s) / 2
    shares = sung(lines, first + (last - first) * place / 1000, fade)
    assert sum(share for _, share in shares) == pytest.approx(1) and len(shares) <= 2


@given(some_lines(), times, st.floats(0, 10))
def test_shares_are_shares(lines, time, fade):
    assert all(0 < share <= 1 for _, share in sung(lines, time, fade))


def test_the_lines_of_a_region():
    assert within(TWO, 0, 10) == () and within(TWO, 13, 14) == TWO[:1] and within(TWO, 13, 14.1) == TWO
    assert within(TWO, 16, 99) == ()


@pytest.mark.parametrize(("text", "encoding"), [
    ("[00:12.00]我听见远方的海\n[00:16.00]风吹过城市的夜\n", "gb18030"),
    ("[00:12.00]où est la mer, l’été\n[00:16.00]déjà vu\n", "cp1252"),
    ("[00:12.00]我聽見遠方的海\n[00:16.00]風吹過城市的夜晚\n", "big5")])
def test_older_encodings_are_recognised(tmp_path, text, encoding):
    path = tmp_path / "song.lrc"
    path.write_bytes(text.encode(encoding))
    assert [line.text for line in parse_lyrics(read_lyrics(path))] == [line.text for line in parse_lyrics(text)]
