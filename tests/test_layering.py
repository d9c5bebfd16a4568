"""Who may import whom (docs/architecture.md), read from the code itself."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent

# Modules that must not bring torch when they are imported: pages and the command line start with them.
LIGHT = ["metamusic", "metamusic.api", "metamusic.cli", "metamusic.effort", "metamusic.errors",
         "metamusic.events", "metamusic.metadata", "metamusic.packs", "metamusic.phrases", "metamusic.plan",
         "metamusic.formula", "metamusic.envelopes", "metamusic.lyrics", "metamusic.story", "metamusic.pictures",
         "metamusic.material", "metamusic.catalogue", "metamusic.downloads", "metamusic.recognition",
         "metamusic.shelf", "metamusic.weights", "metamusic.conversion",
         "metamusic.segments", "metamusic.settings", "metamusic.song", "metamusic.studio", "metamusic.video",
         "metamusic.worker", "db"]

# The engine, in the order in which its parts may know each other: each only those before it.
ENGINE = ["errors", "settings", "events", "randomness", "effort", "ffmpeg", "formula", "phrases", "lyrics", "story",
          "segments", "song", "envelopes", "video", "pictures", "material", "metadata", "motion", "plan",
          "optimisers", "vqgan", "prompt", "cutouts", "perceptor", "weights", "catalogue", "packs", "conversion",
          "downloads", "recognition", "shelf", "judges", "canvas", "memory", "masks", "looking", "targets", "start",
          "scenery", "job", "painter", "render"]
DOORS = ("metamusic.studio", "metamusic.worker")
ABOVE = (*DOORS, "metamusic.api", "metamusic.cli", "metamusic.cli_packs", "metamusic.__main__", "metamusic.sketch")
PAGES_MAY = ("metamusic.studio", "metamusic.settings", "metamusic.errors", "db", "pages")


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (CHECKOUT / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(CHECKOUT).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path) -> set[str]:
    """Full names of what a file imports; `from a import b` counts as a, and as a.b where that is a module."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            modules = {f"{node.module}.{alias.name}" for alias in node.names if _is_module(node, alias)}
            found |= modules or {node.module}
    return found


def _is_module(node: ast.ImportFrom, alias: ast.alias) -> bool:
    path = CHECKOUT.joinpath(*str(node.module).split("."), alias.name)
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


@pytest.mark.parametrize("path", [*sources("metamusic", "db", "pages"), CHECKOUT / "app.py"], ids=name_of)
def test_imports_are_absolute(path):
    """`imports` reads these only; a relative one would pass all that follows unseen."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not [node.lineno for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level]


def within(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


@pytest.mark.parametrize("path", sources("metamusic", "db"), ids=name_of)
def test_nothing_but_screens_knows_streamlit(path):
    assert not any(within(name, "streamlit", "pages", "app") for name in imports(path))


@pytest.mark.parametrize("path", sources("db"), ids=name_of)
def test_the_store_knows_neither_torch_nor_metamusic(path):
    assert not any(within(name, "torch", "metamusic", "numpy") for name in imports(path))


@pytest.mark.parametrize("path", sources("metamusic"), ids=name_of)
def test_the_engine_reaches_the_store_only_through_its_two_doors(path):
    name = name_of(path)
    if within(name, *DOORS, "metamusic.api"):  # api hands the store's rows on, by way of the doors
        return
    assert not any(within(other, "db") for other in imports(path))


@pytest.mark.parametrize("name", ENGINE)
def test_a_part_of_the_engine_knows_only_those_before_it(name):
    path = CHECKOUT / "metamusic" / f"{name}.py"
    allowed = {f"metamusic.{other}" for other in ENGINE[:ENGINE.index(name)]} | {"metamusic"}
    known = {other for other in imports(path) if within(other, "metamusic")}
    assert known <= allowed, f"{name} may not know {sorted(known - allowed)}"


def test_every_part_of_the_engine_has_its_place():
    parts = {name_of(path) for path in sources("metamusic")} - {"metamusic"}
    assert {name for name in parts if not within(name, *ABOVE)} == {f"metamusic.{name}" for name in ENGINE}


@pytest.mark.parametrize("path", [*sources("pages"), CHECKOUT / "app.py"], ids=name_of)
def test_pages_know_only_verbs_rows_settings_and_errors(path):
    ours = {name for name in imports(path) if within(name, "metamusic", "db", "pages", "torch")}
    strangers = {name for name in ours if not within(name, *PAGES_MAY)}
    assert not strangers, f"{name_of(path)} may not know {sorted(strangers)}"


def test_the_engine_does_not_know_the_trainers():
    for path in sources("metamusic"):
        if not within(name_of(path), *ABOVE):
            assert not any(within(name, "metamusic.sketch") for name in imports(path)), name_of(path)


def test_light_modules_import_without_torch():
    code = (f"import sys, importlib\nfor name in {LIGHT!r}:\n    importlib.import_module(name)\n"
            "    heavy = {'torch', 'librosa', 'streamlit'} & set(sys.modules)\n"
            "    assert not heavy, f'{name} imports {heavy}'\n")
    result = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
