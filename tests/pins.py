"""Whether what is installed is what the requirements files pin; needs no network.

    python -m tests.pins

It says nothing about known vulnerabilities: for that, somebody with network runs pip-audit.
"""

import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PIN = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(\[[\w,-]+\])?==(?P<version>\S+)(\s+#\s*\S.*)?")


def troubles() -> list[str]:
    """Return one sentence for each line that does not pin, and each pin that is not met."""
    found = []
    for file in ("requirements.txt", "requirements-dev.txt"):
        for line in (ROOT / file).read_text().splitlines():
            text = line.strip()
            if not text or text.startswith(("#", "-r ")):
                continue
            pin = PIN.fullmatch(text)
            if pin is None or pin[4] is None:
                found.append(f"{file}: {text!r} pins no exact version, or does not say why.")
                continue
            try:
                installed = version(pin["name"])
            except PackageNotFoundError:
                installed = "nothing"
            if installed != pin["version"]:
                found.append(f"{pin['name']}: {pin['version']} is pinned, {installed} is there.")
    return found


def main() -> int:
    found = troubles()
    check = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True)
    if check.returncode:
        found += check.stdout.splitlines()
    print("\n".join(found) if found else "Every dependency is the one that is pinned.")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
