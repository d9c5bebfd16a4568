"""Files by content: whole or not there, named by what is in them, swept only when nobody can want them."""

import errno
import hashlib
import os
import time

import pytest

from db import DiskFull, StoreProblem
from db.files import DAY, Files


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path)


def everything(files):
    return sorted(path.relative_to(files.home) for path in files.home.rglob("*") if path.is_file())


def age(path, seconds=2 * DAY):
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_a_blob_is_named_by_its_content(files):
    content = b"music" * 500_000  # more than one block
    digest = files.put(content, ".mp3")
    assert digest == hashlib.sha256(content).hexdigest()
    assert files.path_of(digest, ".mp3").read_bytes() == content
    assert files.path_of(digest, ".mp3").parent.name == digest[:2]
    assert files.put(content, ".mp3") == digest and len(everything(files)) == 1


def test_a_file_is_copied_by_put_and_moved_by_take(files, tmp_path):
    path = tmp_path / "work" / "final.png"
    path.write_bytes(b"picture")
    digest = files.put(path, ".png")
    assert path.exists()
    assert files.take(path, ".png") == digest and not path.exists()


def test_a_full_disk_leaves_nothing_behind_and_says_so(files, monkeypatch):
    def full(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DiskFull, match="no room"):
        files.put(b"music", ".mp3")
    assert everything(files) == []


def test_too_little_room_is_refused_before_anything_is_written(files, monkeypatch):
    monkeypatch.setattr(files, "free_bytes", lambda: 250_000_000)
    files.ensure_room(10_000_000)
    with pytest.raises(DiskFull, match="310 MB are needed.*250 MB are free"):
        files.ensure_room(100_000_000)


def test_writing_replaces_as_a_whole_or_not_at_all(files):
    target = files.home / "work" / "7" / "checkpoint.pt"
    files.write(target, lambda path: path.write_bytes(b"one"))
    with pytest.raises(RuntimeError):
        files.write(target, _tear)
    assert target.read_bytes() == b"one" and len(everything(files)) == 1


def _tear(path):
    path.write_bytes(b"ha")
    raise RuntimeError("torn")


def test_a_folder_that_cannot_be_written_is_said_in_words(files, monkeypatch):
    monkeypatch.setattr("os.replace", _denied)
    with pytest.raises(StoreProblem, match="Permission denied"):
        files.put(b"music", ".mp3")


def _denied(*_):
    raise PermissionError(errno.EACCES, "Permission denied")


def test_the_sweeper_takes_only_what_is_old_and_unknown(files):
    known, stray, young = (files.put(name, ".bin") for name in (b"known", b"stray", b"young"))
    (files.tmp / "left over").write_bytes(b"x")
    for number in (1, 2):
        (files.work_folder(number) / "chunk.mp4").write_bytes(b"x")
        (files.previews / f"{number}.jpg").write_bytes(b"x")
        age(files.work / str(number))
        age(files.previews / f"{number}.jpg")
    for path in (files.path_of(known, ".bin"), files.path_of(stray, ".bin"), files.tmp / "left over"):
        age(path)
    assert files.sweep({known}, {2}) == 4
    left = {str(path) for path in everything(files)}
    assert left == {f"blobs/{known[:2]}/{known}.bin", f"blobs/{young[:2]}/{young}.bin",
                    "work/2/chunk.mp4", "previews/2.jpg"}


def test_an_old_stray_that_is_put_again_is_young_again(files):
    digest = files.put(b"stray", ".bin")
    age(files.path_of(digest, ".bin"))
    files.put(b"stray", ".bin")
    assert files.sweep(set(), set()) == 0


def test_the_store_sweeps_only_while_nothing_runs(store, tune):
    stray = store.files.path_of(store.files.put(b"stray", ".bin"), ".bin")
    age(stray)
    song = store.add_song(tune, store.files.put(tune, ".wav"), "Tone", 3.0)
    age(song.file)
    settings = {"width": 64, "height": 64}
    store.add_render(song.id, settings, title="x", kind="image", seed=1, pack="p", pack_digest="",
                     worker="elsewhere/0:1:1:1")
    assert store.sweep() == 0 and stray.exists()
    store.fail(1, "elsewhere/0:1:1:1", "no")
    assert store.sweep() == 1 and not stray.exists() and song.file.exists()
