"""How quick the pages are while the engine paints on the same cores, seen from a real browser.

    python benchmarks/pages.py            one JSON object per line

Starts MetaMusic with a data folder of its own, renders a long film of the demo song, and meanwhile moves
between pages and clicks. The same moves are measured before the film starts, so the ratio is of one run.
Needs Chromium; run it when nothing else computes.
"""

import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from metamusic import studio
from metamusic.settings import CHECKOUT, RenderSettings

ROUNDS = 8
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update"]


def main() -> None:
    """Measure idle, then while a film is painted."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["METAMUSIC_HOME"] = folder
        store = studio.open_store()
        song = studio.demo_song(store)
        studio.analysis(store, song.id)
        process, url = start()
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
                page = browser.new_page(viewport={"width": 1440, "height": 900})
                page.goto(url)
                page.locator(".st-key-go_render button").wait_for()
                move(page)
                report("idle", page)
                film = studio.submit(store, song.id, RenderSettings(kind="video", seed=1))
                while not (store.get_render(film.id).progress or {}).get("step"):
                    time.sleep(0.5)
                report("while painting", page)
                assert store.get_render(film.id).state == "running"
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def report(when: str, page: Page) -> None:
    """Print the medians and the worst of both kinds of waiting."""
    moves, clicks = [], []
    for _ in range(ROUNDS):
        moves += [seconds(lambda: to_gallery(page)), seconds(lambda: to_studio(page))]
        clicks += [choose(page, "Video"), choose(page, "Picture")]
    for what, waits in (("page", moves), ("click", clicks)):
        print(json.dumps({"when": when, "what": what, "median_s": round(statistics.median(waits), 2),
                          "worst_s": round(max(waits), 2), "count": len(waits)}), flush=True)


def seconds(act: Callable[[], None]) -> float:
    """How long an act takes, from the click until its effect can be seen."""
    begin = time.perf_counter()
    act()
    return time.perf_counter() - begin


def move(page: Page) -> None:
    to_gallery(page)
    to_studio(page)


def to_gallery(page: Page) -> None:
    page.get_by_role("link", name="Gallery").click()
    page.get_by_placeholder("Search").or_(page.get_by_text("will hang here")).first.wait_for()


def to_studio(page: Page) -> None:
    page.get_by_role("link", name="Studio").click()
    page.locator(".st-key-go_render button").wait_for()
    page.get_by_text("256 by 256").wait_for()


CLICK = """([label, effect]) => new Promise(done => {
  const begin = performance.now();
  [...document.querySelectorAll("button")].find(button => button.innerText.trim() === label).click();
  const seen = () => document.body.innerText.includes(effect);
  const look = () => seen() ? done(performance.now() - begin) : setTimeout(look, 10);
  look();
})"""


def choose(page: Page, kind: str) -> float:
    """Picture or Video, in seconds; the line beside Render tells that the server has answered.

    By the page's own clock: Playwright's click first waits until nothing on the page moves.
    """
    seen = page.evaluate(CLICK, [kind, "of video" if kind == "Video" else "256 by 256"])
    time.sleep(0.37)  # out of step with the page's own look once a second
    return seen / 1000


def start() -> tuple[subprocess.Popen, str]:
    """The server as `make app` starts it, on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, str(CHECKOUT / "serve.py")], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               env={**os.environ, "STREAMLIT_SERVER_PORT": str(port)})
    url = f"http://localhost:{port}"
    for _ in range(300):
        try:
            urllib.request.urlopen(f"{url}/_stcore/health").close()
            return process, url
        except OSError:
            time.sleep(0.2)
    process.kill()
    sys.exit("The server did not start.")


def chromium() -> str:
    """The browser to measure with."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    return found or sys.exit("No Chromium: install it, or name it in CHROMIUM.")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    main()
