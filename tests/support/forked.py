"""Python code in an environment of its own, in a child of a process that has loaded the libraries:
a tenth of the work of a whole new Python.
"""

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from subprocess import CompletedProcess

_children = multiprocessing.get_context("forkserver")
# What settings import, without the settings themselves.
_children.set_forkserver_preload(
    [
        *("cryptography.fernet", "dj_database_url", "dj_email_url", "django.core.management"),
        *("devices.rainmaker.address_guard", "django.core.checks.registry", __name__),
    ]
)


LIMIT_S = 60


def run(code: str, environment: Mapping[str, str]) -> CompletedProcess[str]:
    """Run the code with just these variables; return its exit status and what it wrote."""
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        child = _children.Process(target=_run, args=(code, dict(environment), out, err))
        child.start()
        child.join(LIMIT_S)
        if child.is_alive():
            child.kill()
            raise AssertionError(f"not over within {LIMIT_S} s: {code}")
        done = CompletedProcess(code, child.exitcode or 0, out.read_text(), err.read_text())
        child.close()
    return done


def _run(code: str, environment: dict[str, str], out: Path, err: Path) -> None:
    os.environ.clear()
    os.environ.update(environment)
    for stream, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), stream)
    for name in [name for name in sys.modules if name.startswith("thermacell_web")]:
        del sys.modules[name]
    exec(code, {"__name__": "__main__"})  # noqa: S102 - the tests' own
