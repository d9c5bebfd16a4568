"""Fetching a file from servers that break off, lie, move and change their mind."""

import hashlib
import io
import json
import os
import threading
import zipfile

import pytest
from hostile import Answer, Hostile

from metamusic import downloads
from metamusic.catalogue import PublicFile
from metamusic.downloads import Stopped, begun, download, ensure_room
from metamusic.errors import DiskFullError, PackError


def archive(seed: int, size: int = 200_000) -> bytes:
    """A zip as torch.save writes one, more or less."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        zipped.writestr("archive/data.pkl", bytes([seed]) * 10)
        zipped.writestr("archive/data/0", bytes(os.urandom(size - 300)))
    return buffer.getvalue()


RIGHT, OTHER = archive(1), archive(2)


@pytest.fixture
def server():
    running = Hostile()
    yield running
    running.close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(downloads, "BACKOFF_S", 0.01)
    monkeypatch.setattr(downloads, "READ_S", 5.0)
    monkeypatch.delenv("METAMUSIC_MIRRORS", raising=False)


def public(*urls: str, content: bytes = RIGHT, known: bool = True, exact: bool = True) -> PublicFile:
    return PublicFile(key="file", role="vqgan", name="file.ckpt", urls=urls, licence="none",
                      bytes=len(content) if exact else 0, about=0 if exact else len(content),
                      sha256=hashlib.sha256(content).hexdigest() if known else "")


def left(folder) -> list[str]:
    """What lies in the folder besides locks."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


# -- as it should be -----------------------------------------------------------------------------------


def test_a_file_arrives_whole_and_leaves_nothing_else(server, tmp_path):
    seen = []
    path = download(public(server.serve("f", Answer(RIGHT))), tmp_path, on_progress=seen.append)
    assert path.read_bytes() == RIGHT and left(tmp_path) == ["file.ckpt"]
    assert seen[-1].done == seen[-1].total == len(RIGHT) and seen[-1].speed > 0


def test_what_is_there_is_not_asked_for_again(server, tmp_path):
    file = public(server.serve("f", Answer(RIGHT)))
    assert download(file, tmp_path) == download(file, tmp_path)
    assert len(server.asked) == 1


def test_metamusic_says_who_it_is_and_asks_for_plain_bytes(server, tmp_path):
    download(public(server.serve("f", Answer(RIGHT))), tmp_path)
    assert server.headers[0]["User-Agent"].startswith("MetaMusic/")
    assert server.headers[0]["Accept-Encoding"] == "identity"


# -- breaks --------------------------------------------------------------------------------------------


def test_a_break_goes_on_where_it_was(server, tmp_path):
    url = server.serve("f", Answer(RIGHT, break_after=70_000), Answer(RIGHT))
    assert download(public(url), tmp_path).read_bytes() == RIGHT
    assert server.asked[1][1:] == ("bytes=70000-", '"one"')


def test_many_breaks_are_no_failure_as_long_as_something_comes(server, tmp_path):
    url = server.serve("f", *[Answer(RIGHT, break_after=15_000)] * 12, Answer(RIGHT))
    assert download(public(url), tmp_path).read_bytes() == RIGHT
    assert server.ranges("f")[:3] == [None, "bytes=15000-", "bytes=30000-"]


def test_a_stop_keeps_what_came_and_another_process_goes_on(server, tmp_path):
    url = server.serve("f", Answer(RIGHT, pause_s=0.002))
    file, seen = public(url), []
    with pytest.raises(Stopped):
        download(file, tmp_path, on_progress=seen.append, stopped=lambda: bool(seen) and seen[-1].done > 50_000)
    here, whole = begun(file, tmp_path)
    assert 50_000 < here < len(RIGHT) == whole
    server.serve("f", Answer(RIGHT))
    assert download(file, tmp_path).read_bytes() == RIGHT
    assert server.ranges("f")[-1] == f"bytes={here}-"


def test_a_file_that_changed_between_two_ranges_begins_anew(server, tmp_path):
    url = server.serve("f", Answer(RIGHT, break_after=70_000), Answer(OTHER, etag='"two"'))
    assert download(public(url, content=OTHER), tmp_path).read_bytes() == OTHER


def test_a_changed_file_is_noticed_by_its_date_where_there_is_no_etag(server, tmp_path):
    url = server.serve("f", Answer(RIGHT, etag=None, modified="Mon, 01 Jun 2020 00:00:00 GMT", break_after=70_000),
                       Answer(OTHER, etag=None, modified="Tue, 02 Jun 2020 00:00:00 GMT"))
    file = public(url, content=OTHER, known=False)
    assert download(file, tmp_path).read_bytes() == OTHER
    assert server.asked[1][1:] == ("bytes=70000-", "Mon, 01 Jun 2020 00:00:00 GMT")


def test_without_any_validator_and_hash_a_break_begins_anew(server, tmp_path):
    url = server.serve("f", Answer(RIGHT, etag=None, break_after=70_000), Answer(RIGHT, etag='W/"weak"'))
    assert download(public(url, known=False), tmp_path).read_bytes() == RIGHT
    assert server.ranges("f") == [None, None]


def test_without_a_validator_a_known_hash_lets_it_go_on_and_finds_the_mixture(server, tmp_path):
    url = server.serve("f", Answer(OTHER, etag=None, break_after=70_000), Answer(RIGHT, etag=None))
    assert download(public(url), tmp_path).read_bytes() == RIGHT
    assert server.ranges("f") == [None, "bytes=70000-", None]


def test_a_server_that_ignores_ranges_is_listened_to_from_the_beginning(server, tmp_path):
    url = server.serve("f", Answer(RIGHT, break_after=70_000), Answer(RIGHT, ranges=False))
    assert download(public(url), tmp_path).read_bytes() == RIGHT


def test_a_piece_from_another_place_is_not_glued_on(server, tmp_path):
    url = server.serve("f", Answer(RIGHT, break_after=70_000), Answer(RIGHT, shift=500), Answer(RIGHT))
    assert download(public(url, known=False), tmp_path).read_bytes() == RIGHT
    assert server.ranges("f") == [None, "bytes=70000-", None]


def test_a_piece_of_another_file_that_answers_206_all_the_same_is_not_glued_on(server, tmp_path):
    """A server that ignores If-Range gives itself away by its ETag."""
    url = server.serve("f", Answer(RIGHT, break_after=70_000), Answer(OTHER, etag='"two"', careless=True),
                       Answer(OTHER, etag='"two"'))
    assert download(public(url, content=OTHER, known=False), tmp_path).read_bytes() == OTHER


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_a_piece_of_another_date_that_answers_206_all_the_same_is_not_glued_on(server, tmp_path, etag):
    one, two = "Mon, 01 Jun 2020 00:00:00 GMT", "Tue, 02 Jun 2020 00:00:00 GMT"
    url = server.serve("f", Answer(RIGHT, etag=etag, modified=one, break_after=70_000),
                       Answer(OTHER, etag=etag, modified=two, careless=True), Answer(OTHER, etag=etag, modified=two))
    assert download(public(url, content=OTHER, known=False), tmp_path).read_bytes() == OTHER


def test_two_dates_of_one_etag_are_one_file(server, tmp_path):
    url = server.serve("f", Answer(RIGHT, modified="Mon, 01 Jun 2020 00:00:00 GMT", break_after=70_000),
                       Answer(RIGHT, modified="Tue, 02 Jun 2020 00:00:00 GMT"))
    assert download(public(url, known=False), tmp_path).read_bytes() == RIGHT
    assert server.ranges("f") == [None, "bytes=70000-"]


def test_a_part_that_was_whole_already_needs_no_byte(server, tmp_path):
    url = server.serve("f", Answer(RIGHT, pause_s=0.001))
    (tmp_path / "file.ckpt.part").write_bytes(RIGHT)
    (tmp_path / "file.ckpt.json").write_text(json.dumps({"url": url, "etag": '"one"', "total": len(RIGHT)}))
    assert download(public(url), tmp_path).read_bytes() == RIGHT
    assert not server.asked


# -- lies ----------------------------------------------------------------------------------------------


def test_a_length_that_is_too_long_costs_a_try_and_no_more(server, tmp_path):
    url = server.serve("f", Answer(RIGHT, length=5000), Answer(RIGHT))
    assert download(public(url, known=False, exact=False), tmp_path).read_bytes() == RIGHT


@pytest.mark.parametrize("exact", [True, False])
def test_a_length_that_is_too_short_does_not_pass_for_the_whole(server, tmp_path, exact):
    bad, good = server.serve("bad", Answer(RIGHT, length=-5000)), server.serve("good", Answer(RIGHT))
    file = public(bad, good, known=False, exact=exact)
    assert download(file, tmp_path).read_bytes() == RIGHT


@pytest.mark.parametrize("exact", [True, False])
def test_an_endless_body_is_given_up_and_forgotten(server, tmp_path, exact):
    endless = server.serve("endless", Answer(RIGHT + bytes(10_000_000), headers={"Content-Length": None}))
    good = server.serve("good", Answer(RIGHT))
    file = public(endless, good, known=False, exact=exact)
    with pytest.raises(PackError, match="sends more than"):
        download(file.model_copy(update={"urls": file.urls[:1]}), tmp_path)
    assert left(tmp_path) == []
    assert download(file, tmp_path).read_bytes() == RIGHT and server.ranges("good") == [None]


@pytest.mark.parametrize("number", ["\N{SUPERSCRIPT TWO}", "9" * 5000, "-1", "1e3"])
def test_numbers_that_are_none_are_passed_over(server, tmp_path, number):
    busy = Answer(status=503, headers={"Retry-After": number})
    strange = Answer(RIGHT, headers={"Content-Length": number}, break_after=None)
    url = server.serve("f", busy, strange)
    assert download(public(url), tmp_path).read_bytes() == RIGHT


def test_a_place_in_a_file_that_is_no_number_is_no_place(server, tmp_path):
    odd = Answer(RIGHT, headers={"Content-Range": f"bytes 70000-199999/{'9' * 5000}"})
    url = server.serve("f", Answer(RIGHT, break_after=70_000), odd, Answer(RIGHT))
    assert download(public(url), tmp_path).read_bytes() == RIGHT


def test_wrong_bytes_are_refused_and_the_next_mirror_is_tried(server, tmp_path):
    wrong = bytes([RIGHT[0], RIGHT[1]]) + b"x" + RIGHT[3:]
    bad, good = server.serve("bad", Answer(wrong)), server.serve("good", Answer(RIGHT))
    assert download(public(bad, good), tmp_path).read_bytes() == RIGHT
    assert server.ranges("good") == [None]


def test_wrong_bytes_everywhere_leave_nothing_behind(server, tmp_path):
    url = server.serve("f", Answer(bytes(len(RIGHT))))
    with pytest.raises(PackError, match="no file of weights") as caught:
        download(public(url), tmp_path)
    assert left(tmp_path) == [] and "checkpoints/" in caught.value.cure


def test_the_refusal_names_both_hashes(server, tmp_path):
    url = server.serve("f", Answer(OTHER.ljust(len(RIGHT), b"\0")[:len(RIGHT)]))
    expected = hashlib.sha256(RIGHT).hexdigest()[:12]
    with pytest.raises(PackError, match=f"sha256 .* instead of {expected}"):
        download(public(url), tmp_path)


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/octet-stream"])
def test_the_page_of_a_dead_link_is_not_a_file(server, tmp_path, kind):
    page = b"\n<!DOCTYPE html><title>Gone</title>" + b" " * len(RIGHT)
    dead = server.serve("dead", Answer(page[:len(RIGHT)], kind=kind))
    with pytest.raises(PackError, match="web page"):
        download(public(dead, known=False), tmp_path)
    good = server.serve("good", Answer(RIGHT))
    assert download(public(dead, good, known=False), tmp_path).read_bytes() == RIGHT


def test_another_size_than_stated_is_refused_before_it_is_fetched(server, tmp_path):
    url = server.serve("f", Answer(RIGHT + b"more"))
    with pytest.raises(PackError, match="bytes instead of"):
        download(public(url), tmp_path)


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_dead_mirror_is_asked_once_and_the_next_one_serves(server, tmp_path, status):
    dead, good = server.serve("dead", Answer(status=status)), server.serve("good", Answer(RIGHT))
    assert download(public(dead, good), tmp_path).read_bytes() == RIGHT
    assert len(server.ranges("dead")) == 1


@pytest.mark.parametrize("busy", [Answer(status=500), Answer(status=429, headers={"Retry-After": "0"}),
                                  Answer(status=503, headers={"Retry-After": "1"})])
def test_a_busy_server_is_asked_again(server, tmp_path, busy):
    url = server.serve("f", busy, busy, Answer(RIGHT))
    assert download(public(url), tmp_path).read_bytes() == RIGHT


def test_a_server_that_asks_for_hours_is_left_for_the_next(server, tmp_path):
    busy = server.serve("busy", Answer(status=429, headers={"Retry-After": "7200"}))
    good = server.serve("good", Answer(RIGHT))
    assert download(public(busy, good), tmp_path).read_bytes() == RIGHT
    assert len(server.ranges("busy")) == 1


def test_a_server_that_is_not_there_is_left_for_the_next(server, tmp_path):
    good = server.serve("good", Answer(RIGHT))
    assert download(public("http://127.0.0.1:1/f", good), tmp_path).read_bytes() == RIGHT


def test_a_mirror_may_finish_what_another_began(server, tmp_path):
    bad = server.serve("bad", Answer(RIGHT, break_after=70_000), Answer(status=404))
    good = server.serve("good", Answer(RIGHT))
    assert download(public(bad, good), tmp_path).read_bytes() == RIGHT
    assert server.ranges("good") == ["bytes=70000-"]


def test_a_mirror_is_not_blamed_for_the_bytes_of_another(server, tmp_path):
    bad = server.serve("bad", Answer(OTHER, break_after=70_000), Answer(status=404))
    good = server.serve("good", Answer(RIGHT))
    assert download(public(bad, good), tmp_path).read_bytes() == RIGHT
    assert server.ranges("good") == ["bytes=70000-", None]


def test_every_address_that_failed_is_named(server, tmp_path):
    one, two = server.serve("one", Answer(status=404)), server.serve("two", Answer(status=403))
    with pytest.raises(PackError) as caught:
        download(public(one, two), tmp_path)
    assert f"{one}: it answers 404" in caught.value.message and f"{two}: it answers 403" in caught.value.message


def test_a_redirect_cannot_lead_into_this_machine(server, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(RIGHT)
    url = server.serve("f", Answer(status=302, headers={"Location": secret.as_uri()}))
    with pytest.raises(PackError, match="no web address"):
        download(public(url), tmp_path / "downloads")


# -- hashes that nobody states -------------------------------------------------------------------------


def test_the_first_download_is_recorded_and_the_second_compared(server, tmp_path):
    file = public(server.serve("f", Answer(RIGHT)), known=False)
    download(file, tmp_path).unlink()
    kept = json.loads((tmp_path / "hashes.json").read_text())["file.ckpt"]
    assert kept == {"sha256": hashlib.sha256(RIGHT).hexdigest(), "from": file.urls[0]}
    server.serve("f", Answer(OTHER))
    with pytest.raises(PackError, match="sha256"):
        download(file, tmp_path)


# -- room, company -------------------------------------------------------------------------------------


def test_a_disk_that_is_too_small_is_noticed_before_a_byte_is_fetched(server, tmp_path):
    url = server.serve("f", Answer(RIGHT))
    with pytest.raises(DiskFullError, match="are free"):
        download(public(url).model_copy(update={"bytes": 10**15}), tmp_path)
    assert not server.asked
    ensure_room(tmp_path, 0)


def test_two_at_once_fetch_it_once(server, tmp_path):
    file = public(server.serve("f", Answer(RIGHT, pause_s=0.001)))
    paths = []
    threads = [threading.Thread(target=lambda: paths.append(download(file, tmp_path))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(paths) == 3 and len(server.asked) == 1


def test_who_waits_for_another_can_be_stopped(tmp_path):
    from filelock import FileLock

    with FileLock(tmp_path / "file.ckpt.lock"), pytest.raises(Stopped):
        download(public("http://127.0.0.1:1/f"), tmp_path, stopped=lambda: True)
