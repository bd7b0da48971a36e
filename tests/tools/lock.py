"""Is the lock current, and is all that is installed locked? Needs no network.

    python -m tests.tools.lock

It does not look for known vulnerabilities: pip-audit does, with a network.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DIRECT = re.compile(r"([\w.-]+)(?:\[[\w,-]+\])?==(\S+)\s+#\s*\S")
LOCKED = re.compile(r"^([\w.-]+)==(\S+)(.*(?:\n .*)+)", re.MULTILINE)


def direct(text: str) -> dict[str, str]:
    """Return the versions a .in file asks for; ValueError for a line without version or reason."""
    found = {}
    for line in text.splitlines():
        if not line or line.startswith(("#", "-c ")):
            continue
        pin = DIRECT.match(line)
        if pin is None:
            raise ValueError(f"{line!r} names no exact version, or not why it is needed.")
        found[_normal(pin[1])] = pin[2]
    return found


def locked(text: str, source: str) -> dict[str, str]:
    """Return the versions a lock has for what its .in file asks for; ValueError without hashes."""
    found = {}
    for name, version, rest in LOCKED.findall(text):
        if "--hash=sha256:" not in rest:
            raise ValueError(f"{name} is locked without a hash.")
        if re.search(rf"# via .*-r {re.escape(source)}(,|$)", rest):
            found[_normal(name)] = version
    return found


def problems() -> list[str]:
    """Return one sentence for each way in which .in files, locks and environment differ."""
    found = []
    for source in ("requirements.in", "requirements-dev.in"):
        lock = source.replace(".in", ".txt")
        try:
            asked = direct((ROOT / source).read_text())
            if asked != locked((ROOT / lock).read_text(), source):
                found.append(f"{lock} does not follow from {source}: run make lock.")
        except ValueError as problem:
            found.append(f"{source}: {problem}")
    return found + installed_problems()


def installed_problems() -> list[str]:
    """Return what would have to change for the environment to be exactly what is locked."""
    locks = ("requirements.txt", "requirements-dev.txt")
    command = ["sync", "--dry-run", "--offline", "--require-hashes", "--python", sys.executable]
    checked = subprocess.run(
        [Path(sys.executable).with_name("uv"), "pip", *command, *locks],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"NO_COLOR": "1"},
    )
    if checked.returncode == 0 and "Would make no changes" in checked.stderr:
        return []
    return [f"What is installed is not what is locked:\n{checked.stderr}"]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def main() -> int:
    found = problems()
    print("\n".join(found) if found else "All that is installed is locked, with hashes.")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
