"""A window of a real browser, the system's Chromium, and pictures of what it shows."""

from __future__ import annotations

import io
import shutil
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from tests.polling import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SECONDS = 240  # until the page shows what it should: the daemon's work is part of that
COLORS = 64  # of a picture: a user interface has few


@dataclass(frozen=True)
class Window:
    """What a person does in front of the screen."""

    page: Page
    pictures: Path

    def open(self, url: str, *texts: str) -> None:
        """Load a page, and load it again while it does not show these texts."""
        deadline = time.monotonic() + SECONDS
        while True:
            self.page.goto(url)
            try:
                return self.sees(*texts, seconds=SECONDS / 6)
            except AssertionError:
                if time.monotonic() > deadline:
                    raise

    def sees(self, *texts: str, seconds: float = SECONDS) -> None:
        for text in texts:
            expect(self.page.get_by_text(text).filter(visible=True).first).to_be_visible(timeout=seconds * 1000)

    def shows_an_image(self) -> bool:
        image = self.page.get_by_role("dialog").locator("img")
        image.wait_for()
        return bool(image.evaluate("image => image.decode().then(() => image.naturalWidth > 0)"))

    def click(self, text: str) -> None:
        self.page.get_by_text(text).filter(visible=True).last.click()

    def follow(self, link: str) -> None:
        self.page.get_by_role("link", name=link, exact=True).first.click()

    def launch(self) -> None:
        """Start what the launchpad has, once Dagster has found it valid; yes, without a partition, where it asks."""
        button = self.page.get_by_role("button", name="Launch Run")
        expect(button).to_be_enabled()
        button.click()
        confirm = self.page.get_by_role("button", name="Confirm")
        until(lambda: confirm.is_visible() or "/runs/" in self.page.url, SECONDS)
        if confirm.is_visible():
            confirm.click()

    def fill_in(self, text: str) -> None:
        field = self.page.get_by_role("dialog").get_by_role("textbox").first
        field.fill(text)
        field.press("Enter")

    def switch_on(self, row: str) -> None:
        self.page.locator("tr", has_text=row).locator("label").first.click()

    def picture(self, name: str, *, scroll_to: str = "") -> None:
        if scroll_to:
            self.page.get_by_text(scroll_to, exact=True).scroll_into_view_if_needed()
        self.page.wait_for_load_state("networkidle")
        expect(self.page.get_by_text("Loading")).to_have_count(0)
        png = self.page.screenshot(animations="disabled")
        small = Image.open(io.BytesIO(png)).convert("RGB").quantize(COLORS, dither=Image.Dither.NONE)
        small.save(self.pictures / f"{name}.png", optimize=True)


@contextmanager
def window(pictures: Path) -> Iterator[Window]:
    """Open one. Until it is closed an event loop runs in this thread: nothing else may, so no run of Dagster."""
    pictures.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        try:
            page = browser.new_page(viewport={"width": 1280, "height": 760})
            page.set_default_timeout(SECONDS * 1000)
            expect.set_options(timeout=SECONDS * 1000)
            yield Window(page, pictures)
        finally:
            browser.close()
