"""Classify a photograph with an exported page in Chromium, without headstart: python run_html.py FILE.html PHOTO"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

with sync_playwright() as play:
    browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
    page = browser.new_page()
    page.goto(Path(sys.argv[1]).resolve().as_uri())
    page.locator("body[data-ready=yes]").wait_for(timeout=60_000)
    page.set_input_files("#file", sys.argv[2])
    card = page.locator("article").first
    card.wait_for(timeout=60_000)
    print(f"{float(card.get_attribute('data-probability')):.4f} {card.get_attribute('data-top')}")
    browser.close()
