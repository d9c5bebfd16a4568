"""Migrations: from nothing, from each older database, with a backup, and never backwards."""

import shutil
import sqlite3

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

from db import NewerDatabase, Store
from db import migrate as migrations
from db.models import Base
from db.session import make_engine

NEXT = '''
"""A later migration, for tests."""

import sqlalchemy as sa
from alembic import op

revision = "9000"
down_revision = "0002"


def upgrade() -> None:
    with op.batch_alter_table("songs", recreate="always") as table:
        table.add_column(sa.Column("composer", sa.Text))
'''


@pytest.fixture
def later(tmp_path, monkeypatch):
    """As if the code had one migration more, one that makes the table of songs anew."""
    scripts = tmp_path / "migrations"
    shutil.copytree(migrations.SCRIPTS, scripts, ignore=shutil.ignore_patterns("__pycache__"))
    (scripts / "versions" / "9000_composer.py").write_text(NEXT)

    def apply():
        monkeypatch.setattr(migrations, "SCRIPTS", scripts)

    return apply


def scalar(home, query):
    with sqlite3.connect(home / "metamusic.sqlite3") as connection:
        return connection.execute(query).fetchone()[0]


def filled(home, tune):
    """A data folder with a song and a render of it."""
    store = Store.open(home)
    song = store.add_song(tune, "0" * 64, "Tone", 3.0)
    store.add_render(song.id, {"width": 64, "height": 64}, title="x", kind="image", seed=1, pack="p",
                     pack_digest="")
    store.close()


def test_migrating_from_nothing_gives_exactly_the_models(store):
    with store.sessions.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
        checks = connection.execute(text("SELECT sql FROM sqlite_master WHERE name = 'renders'")).scalar()
    for name in ("ck_renders_state", "ck_renders_kind", "fk_renders_song_id_songs", "AUTOINCREMENT"):
        assert name in checks


def test_opening_again_changes_nothing_and_makes_no_backup(tmp_path, tune):
    filled(tmp_path, tune)
    store = Store.open(tmp_path)
    assert store.list_renders().total == 1
    store.close()
    assert not (tmp_path / "backups").exists()


def test_an_upgrade_keeps_the_rows_and_backs_them_up_first(tmp_path, tune, later):
    filled(tmp_path / "data", tune)
    later()
    Store.open(tmp_path / "data").close()
    assert scalar(tmp_path / "data", "SELECT version_num FROM alembic_version") == "9000"
    assert scalar(tmp_path / "data", "SELECT count(*) FROM renders") == 1, "remaking songs must not cascade"
    assert scalar(tmp_path / "data", "SELECT composer IS NULL FROM songs") == 1
    with sqlite3.connect(tmp_path / "data" / "backups" / "before-9000.sqlite3") as backup:
        assert backup.execute("SELECT version_num FROM alembic_version").fetchone() == ("0002",)
        assert backup.execute("SELECT title FROM renders").fetchone() == ("x",)


def test_the_first_data_folders_get_the_table_of_pictures_and_keep_all_they_had(tmp_path, tune, monkeypatch):
    scripts = tmp_path / "migrations"
    shutil.copytree(migrations.SCRIPTS, scripts, ignore=shutil.ignore_patterns("__pycache__", "0002*"))
    home = tmp_path / "data"
    with monkeypatch.context() as before:
        before.setattr(migrations, "SCRIPTS", scripts)
        filled(home, tune)
    assert scalar(home, "SELECT count(*) FROM sqlite_master WHERE name = 'pictures'") == 0
    old = scalar(home, "SELECT group_concat(title || settings || search_text) FROM renders")
    store = Store.open(home)
    assert store.list_renders().total == 1 and store.list_pictures() == []
    (tmp_path / "p.png").write_bytes(b"picture")
    assert store.add_picture(tmp_path / "p.png", "0" * 64, ".png", "p.png", 4, 3).width == 4
    with store.sessions.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    store.close()
    assert scalar(home, "SELECT group_concat(title || settings || search_text) FROM renders") == old
    with sqlite3.connect(home / "backups" / "before-0002.sqlite3") as backup:
        assert backup.execute("SELECT version_num FROM alembic_version").fetchone() == ("0001",)


def test_an_empty_database_is_upgraded_without_a_backup(tmp_path, later):
    Store.open(tmp_path / "data").close()
    later()
    Store.open(tmp_path / "data").close()
    assert not (tmp_path / "data" / "backups").exists()


def test_a_migration_that_fails_changes_nothing(tmp_path, tune, later):
    filled(tmp_path / "data", tune)
    later()
    script = migrations.SCRIPTS / "versions" / "9000_composer.py"
    script.write_text(script.read_text() + "    raise RuntimeError('half way')\n")
    with pytest.raises(RuntimeError, match="half way"):
        Store.open(tmp_path / "data")
    assert scalar(tmp_path / "data", "SELECT version_num FROM alembic_version") == "0002"
    assert "composer" not in scalar(tmp_path / "data", "SELECT sql FROM sqlite_master WHERE name = 'songs'")


def test_a_database_of_a_newer_metamusic_is_refused_with_a_cure(tmp_path, tune):
    filled(tmp_path, tune)
    with sqlite3.connect(tmp_path / "metamusic.sqlite3") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(NewerDatabase, match="9999") as refusal:
        Store.open(tmp_path)
    assert "Update MetaMusic" in refusal.value.cure


def test_sqlite_is_set_up_as_it_must_be(store):
    with store.sessions.engine.connect() as connection:
        wanted = {"journal_mode": "wal", "foreign_keys": 1, "busy_timeout": 30_000, "synchronous": 2}
        assert {name: connection.execute(text(f"PRAGMA {name}")).scalar() for name in wanted} == wanted


def test_many_may_open_a_new_data_folder_at_once(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        stores = list(pool.map(lambda _: Store.open(tmp_path), range(4)))
    for store in stores:
        store.close()


def test_a_data_folder_may_have_any_name(tmp_path):
    Store.open(tmp_path / "a ?#% b").close()
    assert (tmp_path / "a ?#% b" / "metamusic.sqlite3").is_file()


def test_an_engine_without_foreign_keys_is_only_for_migrations(tmp_path):
    with make_engine(f"sqlite:///{tmp_path / 'x.sqlite3'}", foreign_keys=False).connect() as connection:
        assert connection.execute(text("PRAGMA foreign_keys")).scalar() == 0
