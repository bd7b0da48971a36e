"""Run the quick tests on every Python that is supported and installed here.

    python -m tests.tools.pythons [pytest's own options]

With CI=true on the newest alone, and not on the one that runs this, on which every test has just
been run. Each has an environment of its own in var/pythons, brought up to date when a lock has
changed.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support import services
from tests.support.services import ROOT

SUPPORTED = ("3.13", "3.12", "3.11")
LOCKS = ("requirements.txt", "requirements-dev.txt")
# What needs neither rows nor processes: most of the code is loaded and a good part of it run.
QUICK = ("-n", "2", "--reruns", "1", "-m", "not browser and not processes and not database")


def find(version: str) -> str | None:
    """Return a Python of that version that runs: the environment's own, on the PATH, or pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv", "versions")
    kept = sorted(pyenv.glob(f"{version}.*/bin/python"), key=lambda path: path.stat().st_mtime)
    for python in (sys.executable, shutil.which(f"python{version}"), *map(str, reversed(kept))):
        if python and _answer(python) == version:
            return python
    return None


def environment(version: str, python: str) -> Path:
    """Return the Python of an environment with exactly what is locked, made where it is missing."""
    folder = ROOT / "var" / "pythons" / version
    made, stamp = folder / "bin" / "python", folder / "lock"
    uv = str(Path(sys.executable).with_name("uv"))
    locked = hashlib.sha256(b"".join((ROOT / lock).read_bytes() for lock in LOCKS)).hexdigest()
    if _answer(str(made)) != version or not stamp.is_file() or stamp.read_text() != locked:
        subprocess.run(
            [uv, "venv", "--quiet", "--clear", "--python", python, str(folder)], check=True
        )
        options = ("--quiet", "--require-hashes", "--python", str(made))
        subprocess.run([uv, "pip", "sync", *options, *LOCKS], check=True, cwd=ROOT)
        stamp.write_text(locked)
    return made


def main() -> int:
    failed, left_out = [], []
    own = ".".join(map(str, sys.version_info[:2]))
    for version in SUPPORTED:
        if services.IS_CI and version == own:
            continue
        python = find(version)
        if python is None:
            left_out.append(version)
            continue
        print(f"Python {version}:", flush=True)
        command: list[str | Path] = [
            environment(version, python),
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
        ]
        if subprocess.run([*command, *QUICK, *sys.argv[1:]], cwd=ROOT).returncode:
            failed.append(version)
        if services.IS_CI:
            break
    if left_out:
        print(f"Left out, for they are not installed here: Python {', '.join(left_out)}.")
    if failed:
        print(f"Failed on Python {', '.join(failed)}.")
    return bool(failed)


def _answer(python: str) -> str:
    """Return the version that this Python says it is, "" for one that does not run."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        return subprocess.run([python, "-c", code], capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""


if __name__ == "__main__":
    sys.exit(main())
