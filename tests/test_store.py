"""The store's verbs on a real SQLite file: the queue, the listings, what people do with renders."""

import dataclasses
import hashlib
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from db import NewAsset, NotFound, Store, StoreProblem
from db.workers import host, worker_name

SETTINGS = {"kind": "image", "seed": 7, "width": 256, "height": 256, "text": "", "init": "random",
            "zoom": 0.04}
ELSEWHERE = "elsewhere/0:1:1:1"  # a worker on another host: nobody here can tell whether it lives


def digest_of(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def song(store, tune):
    return store.add_song(tune, digest_of(tune), "Rising Tone", 3.0, ["cut off"])


@pytest.fixture
def ask(store, song):
    """Ask for a render; settings by name."""
    def ask(title="A picture", *, submit_key=None, worker=None, work=None, kind="image", **settings):
        return store.add_render(song.id, {**SETTINGS, "kind": kind, **settings}, title=title, kind=kind,
                                seed=settings.get("seed", 7), pack="sketch", pack_digest="d" * 64,
                                submit_key=submit_key, worker=worker, work=work)
    return ask


def file_of(store, name: str, content: bytes) -> Path:
    path = store.files.tmp / name
    path.write_bytes(content)
    return path


def expire(store, render):
    """Let the lease of a running render run out."""
    store.report(render.id, render.worker, lease_s=-1)


# -- songs --------------------------------------------------------------------------------------------


def test_a_song_comes_in_once(store, tune, song):
    again = store.add_song(tune, song.digest, "Another title", 3.0)
    assert again == song and store.list_songs() == [song]
    assert song.file.read_bytes() == tune.read_bytes() and song.file.suffix == ".wav"
    assert song.notes == ("cut off",) and store.get_song(99) is None


def test_a_song_that_changed_while_it_was_looked_at_is_named_by_what_was_copied(store, tune):
    row = store.add_song(tune, "a" * 64, "Tone", 3.0)
    assert row.digest == digest_of(tune) and row.file.is_file()


def test_an_analysis_is_kept(store, song):
    store.set_analysis(song.id, {"beats": [0.5]})
    assert store.find_song(song.digest).analysis == {"beats": [0.5]}


def test_a_song_whose_file_was_lost_is_mended_by_adding_it_again(store, tune):
    digest = store.files.put(tune, ".wav")
    row = store.add_song(tune, digest, "Tone", 3.0)
    row.file.unlink()
    assert store.add_song(tune, digest, "Tone", 3.0) == row and row.file.is_file()


# -- pictures -----------------------------------------------------------------------------------------


@pytest.fixture
def add(store, tmp_path):
    """Add a picture of this content."""
    def add(content: bytes, name="sea.png", suffix=".png"):
        path = tmp_path / "a picture"
        path.write_bytes(content)
        return store.add_picture(path, digest_of(path), suffix, name, 40, 30)
    return add


def test_a_picture_comes_in_once(store, add):
    row = add(b"sea")
    again = add(b"sea", name="another name.png")
    assert again == row == store.get_picture(row.digest) and store.list_pictures() == [row]
    assert (row.name, row.width, row.height, row.file.read_bytes()) == ("sea.png", 40, 30, b"sea")
    assert row.created_at.tzinfo and store.get_picture("0" * 64) is None


def test_the_newest_pictures_are_listed_first(store, add):
    rows = [add(bytes([number])) for number in range(5)]
    assert store.list_pictures() == rows[::-1] and store.list_pictures(2) == [rows[4], rows[3]]


def test_a_picture_whose_file_was_lost_is_mended_by_adding_it_again(store, add):
    row = add(b"sea")
    row.file.unlink()
    assert add(b"sea", suffix=".jpg").file.read_bytes() == b"sea"
    assert store.get_picture(row.digest).file.suffix == ".jpg"


def test_a_picture_from_two_threads_is_one_row(store, tmp_path):
    (tmp_path / "p").write_bytes(b"picture")

    def add(number):
        return store.add_picture(tmp_path / "p", "0" * 64, ".png", f"{number}", 1, 1).digest

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(add, range(16)))) == len(store.list_pictures()) == 1


def test_the_sweep_leaves_what_somebody_brought(store, song, add):
    row = add(b"sea")
    stray = store.files.path_of(store.files.put(b"stray", ".png"), ".png")
    for path in (row.file, song.file, stray):
        os.utime(path, (0, 0))
    assert store.sweep() == 1
    assert row.file.is_file() and song.file.is_file() and not stray.exists()


def test_a_picture_that_nothing_names_is_forgotten_after_a_week(store, ask, add):
    from datetime import timedelta

    from db.models import Picture, now

    lonely, rendered, masked, preset, fresh, again = [add(name.encode()) for name in
                                                      ("lonely", "rendered", "masked", "preset", "fresh", "again")]
    gone = ask(target=rendered.digest, text=f"sea @ -[{masked.digest}]")
    store.trash(gone.id)
    store.save_preset("Mine", {"image_prompts": f"{preset.digest}:0.5"})
    with store.sessions.write() as session:
        for picture in session.query(Picture).where(Picture.digest != fresh.digest):
            picture.created_at = now() - timedelta(days=8)
    for row in (lonely, rendered, masked, preset, fresh, again):
        os.utime(row.file, (0, 0))
    assert add(b"again").digest == again.digest  # brought once more, today
    assert store.sweep() == 1
    kept = {row.digest for row in store.list_pictures()}
    assert kept == {row.digest for row in (rendered, masked, preset, fresh, again)}
    assert not lonely.file.exists() and all(row.file.is_file() for row in store.list_pictures())


# -- asking -------------------------------------------------------------------------------------------


def test_what_is_asked_for_comes_back_frozen(store, ask, song):
    render = ask("Sea", seed=0)
    assert (render.state, render.seed, render.song, render.attempts) == ("queued", 0, song, 0)
    assert render.settings == {**SETTINGS, "seed": 0} and render == store.get_render(render.id)
    assert render.created_at.tzinfo is not None
    with pytest.raises(dataclasses.FrozenInstanceError):
        render.state = "done"


def test_a_seed_may_be_as_large_as_settings_allow(ask):
    assert ask(seed=2**32 - 1).seed == 2**32 - 1


def test_a_double_click_is_one_render(store, ask):
    one, other = ask(submit_key="k"), ask(submit_key="k")
    assert one == other and store.list_renders().total == 1
    assert ask().id != ask().id


def test_a_double_click_from_two_threads_is_one_render(store, ask):
    with ThreadPoolExecutor(8) as pool:
        ids = {render.id for render in pool.map(lambda _: ask(submit_key="k"), range(16))}
    assert len(ids) == 1


def test_a_render_of_no_song_is_refused(store):
    with pytest.raises(NotFound):
        store.add_render(99, SETTINGS, title="x", kind="image", seed=1, pack="sketch", pack_digest="")


# -- the queue ----------------------------------------------------------------------------------------


def test_eight_threads_claim_each_render_once(store, ask):
    expected = {ask().id for _ in range(60)}

    def work(number):
        claimed = []
        while (render := store.claim_render(f"{ELSEWHERE}{number}")) is not None:
            claimed.append(render.id)
        return claimed

    with ThreadPoolExecutor(8) as pool:
        claimed = [render_id for ids in pool.map(work, range(8)) for render_id in ids]
    assert len(claimed) == len(expected) and set(claimed) == expected


def test_the_oldest_goes_first_and_a_chosen_one_can_be_taken(store, ask):
    first, second, third = ask(), ask(), ask()
    assert store.queue_position(third.id) == 3
    assert store.claim_render(ELSEWHERE).id == first.id
    assert store.claim_render(ELSEWHERE, render_id=third.id).id == third.id
    assert [store.queue_position(r.id) for r in (first, second, third)] == [0, 1, 0]
    assert [r.id for r in store.active_renders()] == [first.id, third.id, second.id]
    assert store.claim_render(ELSEWHERE, render_id=third.id) is None


def test_a_report_prolongs_the_lease_tells_progress_and_hears_a_cancel(store, ask):
    ask()
    render = store.claim_render(ELSEWHERE, lease_s=1)
    answer = store.report(render.id, ELSEWHERE, {"step": 3}, seconds=2.5)
    assert (answer.owned, answer.cancel) == (True, False)
    seen = store.get_render(render.id)
    assert seen.progress == {"step": 3} and seen.seconds == 2.5 and seen.lease_until > render.lease_until
    store.cancel(render.id)
    assert store.report(render.id, ELSEWHERE).cancel
    assert store.get_render(render.id).progress == {"step": 3}, "a bare heartbeat keeps the progress"


def test_a_living_lease_is_respected_and_an_expired_one_is_not(store, ask):
    ask()
    first = store.claim_render(ELSEWHERE)
    assert store.claim_render("other/0:2:2:1") is None
    expire(store, first)
    second = store.claim_render("other/0:2:2:1")
    assert second.id == first.id and second.attempts == 2


def test_who_lost_a_render_changes_nothing_any_more(store, ask):
    ask()
    first = store.claim_render(ELSEWHERE)
    expire(store, first)
    store.claim_render("other/0:2:2:1")
    before = store.get_render(first.id)
    assert not store.report(first.id, ELSEWHERE, {"step": 99}).owned
    assert not store.finish(first.id, ELSEWHERE, "done")
    assert not store.fail(first.id, ELSEWHERE, "no")
    assert not store.give_back(first.id, ELSEWHERE)
    assert not store.record_checkpoint(first.id, ELSEWHERE, 5, 5)
    assert store.get_render(first.id) == before


def test_a_dead_process_on_this_host_loses_its_render_at_once(store, ask):
    ask(worker=f"{host()}:999999999:1:1")
    alive = ask(worker=worker_name())
    taken = store.claim_render(worker_name())
    assert taken.attempts == 2 and taken.id != alive.id
    assert store.claim_render(worker_name()) is None


def test_a_pid_that_was_given_to_another_process_does_not_count_as_alive(store, ask):
    pid = worker_name().split(":")[1]
    lost = ask(worker=f"{host()}:{pid}:12345:1")
    assert store.claim_render(worker_name()).id == lost.id


def test_born_running_is_never_up_for_grabs(store, ask):
    render = ask(worker=worker_name())
    assert render.state == "running" and render.attempts == 1
    assert store.claim_render(worker_name()) is None


def test_five_attempts_that_get_no_further_are_enough(store, ask):
    ask()
    for attempt in range(5):
        render = store.claim_render(ELSEWHERE)
        assert render.attempts == attempt + 1
        expire(store, render)
    assert store.claim_render(ELSEWHERE) is None
    failed = store.get_render(render.id)
    assert failed.state == "failed" and "5 times" in failed.error and "process 1 on elsewhere" in failed.error
    assert failed.cure and store.active_renders() == []


def test_an_attempt_that_gets_further_is_forgiven(store, ask):
    ask(kind="video")
    for attempt in range(12):
        render = store.claim_render(ELSEWHERE)
        assert render is not None, f"gave up at attempt {attempt}"
        store.record_checkpoint(render.id, ELSEWHERE, attempt, 10 * attempt)
        expire(store, render)
    for _ in range(5):
        assert render is not None
        render = store.claim_render(ELSEWHERE)
        if render is not None:
            store.record_checkpoint(render.id, ELSEWHERE, 11, 110)  # no further than before
            expire(store, render)
    assert store.claim_render(ELSEWHERE) is None


def test_giving_back_does_not_count_as_an_attempt(store, ask):
    ask()
    for _ in range(8):
        render = store.claim_render(ELSEWHERE)
        assert store.give_back(render.id, ELSEWHERE, seconds=1.0)
    assert store.get_render(render.id).attempts == 0 and store.queue_position(render.id) == 1


def test_finishing_writes_assets_scores_and_state_together(store, ask):
    ask()
    render = store.claim_render(ELSEWHERE)
    store.set_plan(render.id, {"threads": 2}, versions={"x": "1"}, pack_digest="e" * 64, notes=["rounded"])
    store.set_plan(render.id, {"threads": 2}, notes=["rounded", "silent"])
    preview = store.files.previews / f"{render.id}.jpg"
    preview.write_bytes(b"preview")
    store.set_preview(render.id, preview)
    assert store.get_render(render.id).assets["preview"].file == preview
    made = NewAsset("final", file_of(store, "final.png", b"picture"), "image/png", 256, 256)
    assert store.finish(render.id, ELSEWHERE, "done", assets=[made], scores={"audio": 0.5}, seconds=9.0)
    done = store.get_render(render.id)
    assert (done.state, done.scores, done.seconds) == ("done", {"audio": 0.5}, 9.0)
    assert done.plan == {"threads": 2} and done.versions == {"x": "1"} and done.pack_digest == "e" * 64
    assert done.notes == ("rounded", "silent") and set(done.assets) == {"final"}
    assert done.assets["final"].file.read_bytes() == b"picture" and done.assets["final"].bytes == 7
    assert not made.path.exists() and done.finished_at and done.lease_until is None


def test_a_preview_tells_one_from_the_next(store, ask):
    ask()
    render = store.claim_render(ELSEWHERE)
    preview = store.files.previews / f"{render.id}.jpg"
    preview.write_bytes(b"one")
    store.set_preview(render.id, preview)
    one = store.get_render(render.id).assets["preview"].digest
    time.sleep(0.01)
    preview.write_bytes(b"two")
    assert store.get_render(render.id).assets["preview"].digest != one
    preview.unlink()
    assert store.get_render(render.id).assets == {}


# -- what people do with renders ----------------------------------------------------------------------


def test_cancel_ends_what_waits_and_asks_what_runs(store, ask):
    waiting, running = ask(), ask(worker=ELSEWHERE)
    assert store.cancel(waiting.id).state == "cancelled"
    asked = store.cancel(running.id)
    assert asked.state == "running" and asked.cancel_requested
    assert store.cancel(waiting.id).state == "cancelled"


def test_cancelling_what_has_a_checkpoint_is_left_to_a_worker_and_goes_first(store, ask):
    ask(worker=ELSEWHERE)
    other = ask()
    running = store.active_renders()[0]
    store.record_checkpoint(running.id, ELSEWHERE, 4, 40)
    store.give_back(running.id, ELSEWHERE)
    assert store.cancel(running.id).state == "queued"
    assert other.id != store.claim_render(ELSEWHERE).id == running.id


def test_a_failed_render_can_be_continued_and_a_done_one_cannot(store, ask):
    render = ask(worker=ELSEWHERE)
    store.fail(render.id, ELSEWHERE, "no room", "make some")
    failed = store.get_render(render.id)
    assert (failed.state, failed.error, failed.cure) == ("failed", "no room", "make some")
    again = store.continue_render(render.id)
    assert (again.state, again.error, again.attempts) == ("queued", "", 0)
    with pytest.raises(StoreProblem):
        store.continue_render(render.id)


def test_the_trash_hides_cancels_and_gives_back(store, ask):
    render = ask("Sea")
    trashed = store.trash(render.id)
    assert trashed.deleted_at and trashed.state == "cancelled"
    assert store.list_renders().total == 0 and store.list_renders(trashed=True).total == 1
    assert store.restore(render.id).deleted_at is None and store.list_renders().total == 1
    with pytest.raises(NotFound):
        store.trash(99)


def test_the_trash_taken_back_queues_again_what_it_ended(store, ask):
    waiting, with_checkpoint, heard, unheard = ask(), *(ask(worker=ELSEWHERE) for _ in range(3))
    store.record_checkpoint(with_checkpoint.id, ELSEWHERE, 4, 40)
    store.give_back(with_checkpoint.id, ELSEWHERE)
    for render in (waiting, with_checkpoint, heard, unheard):
        store.trash(render.id)
        store.trash(render.id)  # a double click
    assert store.finish(heard.id, ELSEWHERE, "cancelled")
    restored = [store.restore(render.id) for render in (waiting, with_checkpoint, heard, unheard)]
    assert [render.state for render in restored] == ["queued", "queued", "queued", "running"]
    assert not any(render.cancel_requested or render.deleted_at or render.finished_at for render in restored)
    assert restored[1].checkpoint_frame == 4 and store.queue_position(waiting.id) == 1


def test_the_trash_taken_back_leaves_what_had_ended_before(store, ask):
    cancelled, done = ask(), ask(worker=ELSEWHERE)
    store.cancel(cancelled.id)
    store.finish(done.id, ELSEWHERE, "done")
    for render in (cancelled, done):
        store.trash(render.id)
    assert store.restore(cancelled.id).state == "cancelled" and store.restore(done.id).state == "done"
    running = ask(worker=ELSEWHERE)
    store.cancel(running.id)
    assert store.restore(running.id).cancel_requested, "what is not in the trash stays as it is"


def test_renders_are_listed_newest_first_in_pages(store, ask):
    ids = [ask(f"Number {number}").id for number in range(7)]
    pages = [store.list_renders(page=page, per_page=3) for page in (1, 2, 3, 4)]
    assert [r.id for page in pages for r in page.rows] == ids[::-1]
    assert {page.total for page in pages} == {7}


def test_renders_are_filtered_by_kind_song_state_and_tag(store, ask, song):
    picture, film = ask(), ask(kind="video")
    store.cancel(film.id)
    store.set_tags(picture.id, ["March", " March ", "sea  side", ""])

    def ids(**wanted):
        return [render.id for render in store.list_renders(**wanted).rows]

    assert ids(kind="video") == [film.id] and ids(state="queued") == [picture.id]
    assert ids(state=["queued", "cancelled"]) == [film.id, picture.id]
    assert ids(song=song.id) == [film.id, picture.id] and ids(song=99) == []
    assert ids(tag="sea side") == [picture.id] and ids(tag="none") == []
    assert store.list_tags() == [("March", 1), ("sea side", 1)]
    assert store.set_tags(picture.id, ["April"]).tags == ("April",)


@pytest.mark.parametrize(("search", "found"), [
    ("storm", True), ("STORM sea", True), ("storm desert", False), ("rising", True), ("élan", True),
    ("ÉLAN", True), ("100%", True), ("100_", False), ("50%", False), ("seed:7", True), ("seed:77", False),
    ("zoom:0.04", True), ("init:random", True), ("init:rand", False), ("rain:0.8", True), ("", True),
    ("bleu march", True), ("smoothing", False),
])
def test_search_finds_all_words_in_any_case_and_settings_by_name(store, ask, search, found):
    render = ask("Élan bleu 100%", text="a STORM at sea | rain:0.8")
    store.set_tags(render.id, ["March"])
    assert store.list_renders(search=search).total == int(found)


def test_a_render_is_found_by_its_lyrics_story_and_the_names_of_its_pictures(store, ask, add):
    sea, gone = add(b"sea", "Grey Waves.png"), "ab" * 32
    ask(lyrics="0:01,Hello Darkness", story="0:00 an owl\n0:10 a fox",
        image_prompts=f"{sea.digest}:0.5 | {gone}", target=sea.digest)
    for word, found in (("darkness", True), ("fox", True), ("waves", True), (sea.digest[:8], False), ("abab", False)):
        assert store.list_renders(search=word).total == int(found), word


def test_a_new_title_is_found_and_the_old_one_is_not(store, ask):
    render = store.rename(ask("Before").id, " After ")
    assert render.title == "After"
    assert store.list_renders(search="after").total == 1 and store.list_renders(search="before").total == 0


def test_the_revision_changes_with_what_listings_show_and_not_with_progress(store, ask):
    seen = [store.revision()]
    render = ask()
    seen.append(store.revision())
    store.claim_render(ELSEWHERE)
    seen.append(store.revision())
    store.report(render.id, ELSEWHERE, {"step": 1})
    assert store.revision() == seen[-1]
    store.set_tags(render.id, ["x"])
    seen.append(store.revision())
    store.fail(render.id, ELSEWHERE, "no")
    seen.append(store.revision())
    assert len(set(seen)) == len(seen)


def test_an_estimate_is_the_median_of_past_renders_of_this_host(store, ask):
    assert store.typical_seconds("image", "sketch", 10) is None
    here = worker_name()
    for seconds in (10.0, 20.0, 90.0):
        render = ask(work=10.0, worker=here)
        store.finish(render.id, here, "done", seconds=seconds)
    other = ask(work=10.0, worker=ELSEWHERE)
    store.finish(other.id, ELSEWHERE, "done", seconds=1000.0)
    assert store.typical_seconds("image", "sketch", 5) == 10.0
    assert store.typical_seconds("video", "sketch", 5) is None


# -- presets ------------------------------------------------------------------------------------------


def test_presets_are_kept_replaced_and_forgotten(store):
    store.save_preset(" Night  sea ", {"seed": 1})
    store.save_preset("Night sea", {"seed": 2})
    assert [(p.name, p.settings) for p in store.list_presets()] == [("Night sea", {"seed": 2})]
    store.delete_preset("Night sea")
    assert store.list_presets() == []
    with pytest.raises(StoreProblem):
        store.save_preset("   ", {})


# -- many at once, and power cuts ---------------------------------------------------------------------


def test_readers_and_writers_do_not_trip_over_each_other(store, ask, tmp_path):
    """Two stores on one file, as a server and a command line have it."""
    twin = Store.open(tmp_path / "data")
    render = ask(worker=ELSEWHERE)
    errors = []

    def beat(one):
        try:
            for step in range(40):
                one.report(render.id, ELSEWHERE, {"step": step})
                one.list_renders(search="picture")
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=beat, args=(one,)) for one in (store, twin) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    twin.close()
    assert errors == []


def test_what_is_committed_is_on_the_disk(store):
    with store.sessions.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2, "FULL"


def test_a_data_folder_that_cannot_be_made_is_said_in_words(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreProblem, match="cannot be used"):
        Store.open(tmp_path / "file" / "data")


def test_a_database_url_that_cannot_be_read_is_said_in_words(tmp_path):
    with pytest.raises(StoreProblem, match="URL"):
        Store.open(tmp_path, "nonsense")
