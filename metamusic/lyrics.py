"""Timed lyrics: which words are sung when. Reads LRC, SRT and CSV, and writes CSV.

Times are seconds of the song, on the millisecond. The text of a line is never read as a prompt: "at 12:30" is sung.
"""

import bisect
import csv
import html
import io
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import srt

from metamusic.errors import SettingsError

LONGEST_LINE_S = 8.0        # a line that does not say when it ends is over by then
LATEST_S = 86400.0          # as RenderSettings.start
LONGEST = 60_000            # characters, as RenderSettings.lyrics
LARGEST_WEIGHT = 10.0

# Digits are counted because Python refuses to read numbers of thousands of them.
_CLOCK = re.compile(r"(?:(\d{1,9}):([0-5]\d)|(\d{1,9})):([0-5]\d(?:[.,]\d{1,9})?)", re.ASCII)
LEGACY = ["gb18030", "big5", "shift_jis", "euc_kr", "cp1251", "cp1252"]  # what lyrics files come in
_CURE = ("Write LRC ([0:12.50] text), SRT (0:00:12,500 --> 0:00:15,000) or CSV (0:12.50,text). A time is m:ss or "
         "h:mm:ss, and hundredths follow a point.")
_ARROW = re.compile(r"^\s*[\d:.,]+\s*-->")
_SRT_TIME = r"\d{1,4}:[0-5]\d:[0-5]\d(?:[,.]\d{3})?"
_SRT_TIMES = re.compile(rf"^\s*{_SRT_TIME} *--> *{_SRT_TIME}(?!\S)", re.ASCII)
_LRC_LINE = re.compile(r"((?:\s*\[\d[^\]]*\])+)(.*)", re.ASCII)
_LRC_TAG = re.compile(r"\[\s*(offset)\s*:(.*)\]|\[[^\d\]][^\]]*\]", re.IGNORECASE)
_WORD_STAMP = re.compile(r"<\d+:\d+(?:[.:]\d+)?>")
_MARKUP = re.compile(r"</?[a-zA-Z][^<>]*>|\{\\[^{}]*\}")  # <i>, and {\an8} of other subtitle formats
_COLUMNS = {"timestamp": "start", "start": "start", "time": "start", "text": "text", "lyrics": "text",
            "weight": "weight", "end": "end"}
_HEADER = ("start", "text", "weight", "end")


@dataclass(frozen=True)
class Line:
    """Words that are sung from start_s (inclusive) to end_s (exclusive), in seconds of the song.

    weight: -10..10, the line's own pull beside the setting for all of them.
    """

    start_s: float
    end_s: float
    text: str
    weight: float = 1.0


@dataclass(frozen=True)
class _Stamp:
    """A line as read: without an end it lasts to the next stamp; without a text it only ends others."""

    start_s: float
    text: str
    end_s: float | None = None
    weight: float = 1.0


def parse_lyrics(text: str) -> tuple[Line, ...]:
    """The lines of LRC, SRT or CSV, sorted by their start; lines that overlap stay both.

    LRC: [m:ss.xx] before each line, several for a refrain; an empty one ends the line before; [offset:250] (in
    milliseconds) moves all of them to earlier, at most to 0; other tags and word stamps are left out. SRT: markup is
    left out and a cue's rows become one line. CSV: `m:ss[.xx],text[,weight[,end]]`, with or without a header.
    A line that does not say when it ends lasts until the next begins, at most 8 s. Blank text has no lines.
    Raises SettingsError, with the number of the line, for what is none of these.
    """
    rows = re.split(r"\r\n|\r|\n", text.removeprefix("\ufeff"))
    if not text.strip("\ufeff \t\r\n"):
        return ()
    if any(_ARROW.match(row) for row in rows):
        stamps = _read_srt(rows)
    elif any(row.lstrip().startswith("[") for row in rows):
        stamps = _read_lrc(rows)
    else:
        stamps = _read_csv(rows)
    lines = _with_ends(list(stamps))
    if not lines:
        raise SettingsError("The lyrics have no timed line.", _CURE)
    return lines


def format_lyrics(lines: Sequence[Line]) -> str:
    """The lines as CSV with a header, times on the millisecond; `parse_lyrics` reads it back."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_HEADER)
    for line in lines:
        weight = repr(float(line.weight)).removesuffix(".0")
        writer.writerow((_format_clock(line.start_s), line.text, weight, _format_clock(line.end_s)))
    return out.getvalue()


def read_lyrics(path: Path) -> str:
    """The text of a lyrics file, which `parse_lyrics` accepts; UTF-8, UTF-16 with its mark, or the likeliest
    of the older encodings.

    Raises SettingsError for a file that is missing, no text, above 60,000 characters or without a timed line.
    """
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= 4 * LONGEST else b""
    except OSError as error:
        raise SettingsError(f"The lyrics {str(path)!r} cannot be read: {error.strerror}.",
                            "Check the name, and that it is a file.") from error
    text = _decode(data, path).replace("\r\n", "\n").replace("\r", "\n")
    if size > 4 * LONGEST or len(text) > LONGEST:
        raise SettingsError(f"The lyrics {path.name!r} have more than {LONGEST:,} characters.",
                            "Leave out what is not sung in the region.")
    if not parse_lyrics(text):
        raise SettingsError(f"The lyrics {path.name!r} are empty.", _CURE)
    return text


def sung(lines: Sequence[Line], time_s: float, fade_s: float) -> list[tuple[int, float]]:
    """(index, share) of each line that acts at a time of the song, shares in (0, 1].

    lines: sorted by start, as `parse_lyrics` gives them. A line comes and goes linearly in fade_s seconds, half
    before and half after its borders, but never past the middle of a line; so two lines that meet cross-fade and
    add up to 1. With fade_s 0 it acts from its start (inclusive) to its end (exclusive).
    """
    reach = fade_s / 2
    begun = bisect.bisect_right(lines, time_s + reach, key=lambda line: line.start_s)
    shares = ((index, _share(lines, index, time_s, reach)) for index in range(begun)
              if lines[index].end_s + reach > time_s)
    return [(index, share) for index, share in shares if share > 0]


def within(lines: Sequence[Line], start_s: float, end_s: float) -> tuple[Line, ...]:
    """The lines that sound somewhere from start_s (inclusive) to end_s (exclusive)."""
    return tuple(line for line in lines if line.start_s < end_s and line.end_s > start_s)


def ends_by_itself(lines: Sequence[Line], index: int) -> bool:
    """Does a line end as one that does not say when it ends: with the next one, at most 8 s after its start?"""
    line = lines[index]
    by_itself = min([line.start_s + LONGEST_LINE_S, *(one.start_s for one in lines if one.start_s > line.start_s)])
    return abs(line.end_s - by_itself) < 0.005


def ramp(distance: float, half: float) -> float:
    """0 before a border, 1 after it, linear within `half` seconds on both sides; distance: seconds after it."""
    if half <= 0:
        return float(distance >= 0)
    return min(max(0.5 + distance / (2 * half), 0.0), 1.0)


def read_clock(text: str) -> float | None:
    """Seconds of `m:ss`, `m:ss.xx` or `h:mm:ss`, on the millisecond; None for anything else."""
    found = _CLOCK.fullmatch(text.strip())
    if found is None:
        return None
    hours, minutes, only_minutes, seconds = found.groups(default="0")
    return round(int(hours) * 3600 + (int(minutes) + int(only_minutes)) * 60 + float(seconds.replace(",", ".")), 3)


# -- the three formats --------------------------------------------------------------------------------


def _read_lrc(rows: Sequence[str]) -> Iterator[_Stamp]:
    offset_s = _lrc_offset(rows)
    for number, row in enumerate(rows, 1):
        if not row.strip() or _LRC_TAG.fullmatch(row.strip()):
            continue
        found = _LRC_LINE.match(row)
        if found is None:
            raise _refusal(number, row, "has no time")
        text = _plain(_WORD_STAMP.sub(" ", found[2]))
        for stamp in re.findall(r"\[([^\]]*)\]", found[1]):
            if re.fullmatch(r"\d+:\d+:\d+", stamp.strip()):
                raise _refusal(number, stamp, "may mean hours or hundredths")
            yield _Stamp(round(max(0.0, _time(stamp, number) - offset_s), 3), text)


def _lrc_offset(rows: Sequence[str]) -> float:
    """Seconds by which everything comes earlier; the last offset of the file counts."""
    offset_s = 0.0
    for number, row in enumerate(rows, 1):
        found = _LRC_TAG.fullmatch(row.strip())
        if found and found[1]:
            value = found[2].strip() or "0"
            if not re.fullmatch(r"[+-]?\d{1,8}", value, re.ASCII):
                raise _refusal(number, row, "is no offset in milliseconds")
            offset_s = int(value) / 1000
    return offset_s


def _read_srt(rows: Sequence[str]) -> Iterator[_Stamp]:
    arrows = [number for number, row in enumerate(rows, 1) if _ARROW.match(row)]
    for number in arrows:
        if not _SRT_TIMES.match(rows[number - 1]):
            raise _refusal(number, rows[number - 1], "is no pair of times h:mm:ss,mmm")
    text = "\n".join(rows)
    try:
        cues = list(srt.parse(text))
    except srt.SRTParseError as error:
        number = text.count("\n", 0, error.expected_start) + 1
        raise _refusal(number, error.unmatched_content.strip(), "belongs to no cue") from error
    except ValueError as error:  # a cue's number of thousands of digits
        raise SettingsError("The lyrics have a cue whose number cannot be read.", _CURE) from error
    if len(cues) != len(arrows):
        raise SettingsError("The lyrics have two cues without an empty row between them.", _CURE)
    for number, cue in zip(arrows, cues, strict=True):
        start, end = cue.start.total_seconds(), cue.end.total_seconds()
        _check_times(start, end, number, rows[number - 1])
        yield _Stamp(start, _plain(html.unescape(_MARKUP.sub("", cue.content))), end)


def _read_csv(rows: Sequence[str]) -> Iterator[_Stamp]:
    columns: tuple[str, ...] = ()
    for number, row in enumerate(rows, 1):
        if not row.strip():
            continue
        fields = _fields(row, number)
        if not columns:
            columns = _columns(fields, number) or _HEADER
            if columns is not _HEADER:
                continue
        yield _csv_stamp(dict(zip(columns, fields, strict=False)), len(fields) - len(columns), number, row)


def _fields(row: str, number: int) -> list[str]:
    """The fields of one row. Each row is read on its own: a forgotten quote must not swallow the rest."""
    try:
        return [field.strip() for field in next(csv.reader([row], strict=True, skipinitialspace=True))]
    except csv.Error as error:
        raise SettingsError(f"Line {number} of the lyrics, {_short(row)}, has a quotation mark out of place.",
                            'Put the text in quotation marks and double those inside it: 0:12,"He said ""go"".".'
                            ) from error


def _columns(fields: Sequence[str], number: int) -> tuple[str, ...]:
    """What the columns are if these fields are a header, in our words; empty if they are not."""
    names = [field.lower() for field in fields]
    if names[0] not in _COLUMNS:
        return ()
    columns = tuple(_COLUMNS.get(name, "") for name in names)
    if "" in columns or len(set(columns)) < len(columns) or not {"start", "text"} <= set(columns):
        raise SettingsError(f"Line {number} of the lyrics is a header with the columns {', '.join(names)}.",
                            f"Known columns are {', '.join(_HEADER)}; start and text are needed.")
    return columns


def _csv_stamp(found: dict[str, str], surplus: int, number: int, row: str) -> _Stamp:
    if "text" not in found:
        raise _refusal(number, row, "is not a time and a text")
    start = _time(found["start"], number)
    weight = _weight(found.get("weight") or "1")
    if surplus > 0 or weight is None:
        raise SettingsError(f"Line {number} of the lyrics, {_short(row)}, has more than a time, a text, a weight "
                            "from -10 to 10 and an end.",
                            'A text that holds a comma stands in quotation marks: 0:12,"hello, world".')
    end = _time(found["end"], number) if found.get("end") else None
    _check_times(start, end, number, row)
    return _Stamp(start, _plain(found["text"]), end, weight)


# -- what they have in common -------------------------------------------------------------------------


def _with_ends(stamps: list[_Stamp]) -> tuple[Line, ...]:
    """Lines in the order of their start, each with an end."""
    stamps = sorted(stamps, key=lambda stamp: stamp.start_s)
    starts = [stamp.start_s for stamp in stamps]
    lines = []
    for stamp in stamps:
        end = stamp.end_s
        if end is None:
            later = bisect.bisect_right(starts, stamp.start_s)  # lines that begin together end together
            following = starts[later] if later < len(starts) else math.inf
            end = round(min(following, stamp.start_s + LONGEST_LINE_S), 3)
        if stamp.text:
            lines.append(Line(stamp.start_s, end, stamp.text, stamp.weight))
    return tuple(lines)


def _time(text: str, number: int) -> float:
    seconds = read_clock(text)
    if seconds is None:
        raise _refusal(number, text, "is no time")
    _check_times(seconds, None, number, text)
    return seconds


def _check_times(start: float, end: float | None, number: int, row: str) -> None:
    if max(start, end or 0.0) > LATEST_S:
        raise _refusal(number, row, f"is beyond {LATEST_S / 3600:g} hours")
    if end is not None and end <= start:
        raise _refusal(number, row, "ends before it begins")


def _weight(field: str) -> float | None:
    try:
        value = float(field)
    except ValueError:
        return None
    return value if abs(value) <= LARGEST_WEIGHT else None  # nan is not


def _refusal(number: int, what: str, complaint: str) -> SettingsError:
    return SettingsError(f"Line {number} of the lyrics, {_short(what)}, {complaint}.", _CURE)


def _short(row: str) -> str:
    return repr(row if len(row) <= 60 else f"{row[:57]}...")


def _plain(text: str) -> str:
    """The words with single blanks between them."""
    return " ".join(text.split())


def _format_clock(seconds: float) -> str:
    """m:ss or h:mm:ss, with as many decimals as a millisecond needs."""
    minutes, milliseconds = divmod(round(seconds * 1000), 60_000)
    hours, minutes = divmod(minutes, 60)
    rest = f"{milliseconds // 1000:02}" + f".{milliseconds % 1000:03}".rstrip("0").rstrip(".")
    return f"{hours}:{minutes:02}:{rest}" if hours else f"{minutes}:{rest}"


def _decode(data: bytes, path: Path) -> str:
    """The bytes as text; SettingsError for what is none."""
    marked = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    for encoding in ("utf-16",) if marked else ("utf-8-sig", *_likely(data), "cp1252", "latin-1"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if not re.search(r"[\x00-\x08\x0e-\x1f]", text):
            return text
        break
    raise SettingsError(f"The lyrics {path.name!r} are not a text file.", "Choose an .lrc, .srt, .csv or .txt file.")


def _likely(data: bytes) -> list[str]:
    """The encoding that bytes without a mark are most likely in: many a Chinese .lrc is GBK to this day."""
    from charset_normalizer import from_bytes

    best = from_bytes(data, cp_isolation=LEGACY).best()
    return [best.encoding] if best else []


def _share(lines: Sequence[Line], index: int, time_s: float, reach: float) -> float:
    """How much a line acts, 0..1. reach: half the fade."""
    line = lines[index]
    rise = ramp(time_s - line.start_s, _half_before(lines, line, reach))
    fall = ramp(time_s - line.end_s, _half_after(lines, line, reach))
    return min(rise, 1 - fall)


def _half_before(lines: Sequence[Line], line: Line, reach: float) -> float:
    """Seconds on each side of a line's start in which it comes."""
    gaps = (line.start_s - _middle(other) for other in lines if other.end_s <= line.start_s)
    return min(reach, (line.end_s - line.start_s) / 2, min(gaps, default=math.inf))


def _half_after(lines: Sequence[Line], line: Line, reach: float) -> float:
    """Seconds on each side of a line's end in which it goes."""
    gaps = (_middle(other) - line.end_s for other in lines if other.start_s >= line.end_s)
    return min(reach, (line.end_s - line.start_s) / 2, min(gaps, default=math.inf))


def _middle(line: Line) -> float:
    return (line.start_s + line.end_s) / 2
