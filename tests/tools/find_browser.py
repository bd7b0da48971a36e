"""Print the path of a Chromium, installing one when there is none and it can be done.

Looked for in this order: $CHROMIUM, the usual names on PATH, Playwright's own. As root on Debian it
comes from the system's packages, elsewhere from Playwright. Prints nothing when there is none: the
tests then say what they left out, and with CI set they fail.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def on_path() -> str:
    """Return a browser that is installed already, or ""."""
    given = os.environ.get("CHROMIUM", "")
    if given and Path(given).exists():
        return given
    found = (shutil.which(name) for name in NAMES)
    return next((path for path in found if path), "") or _of_playwright()


def _of_playwright() -> str:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).exists() else ""


def install() -> None:
    """Try to install one; what that prints goes to standard error."""
    is_debian_root = os.geteuid() == 0 and shutil.which("apt-get") is not None
    commands = (
        [
            ["apt-get", "update", "-qq"],
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"],
        ]
        if is_debian_root
        else [[sys.executable, "-m", "playwright", "install", "chromium"]]
    )
    for command in commands:
        subprocess.run(command, stdout=sys.stderr, check=False, stdin=subprocess.DEVNULL)


if __name__ == "__main__":
    if not on_path():
        print("No Chromium was found; installing one for the browser tests…", file=sys.stderr)
        install()
    print(on_path())
