"""The product's settings, with its own throw-away data folder and no variables from outside."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from thermacell_web.environment import known_names

_PREFIX = "thermacell-web-test-"
# Workers and programs that a test starts share the folder of the run that started them.
_data_dir = os.environ.get("DATA_DIR", "")
if not Path(_data_dir).name.startswith(_PREFIX):
    _data_dir = tempfile.mkdtemp(prefix=_PREFIX)
    atexit.register(shutil.rmtree, _data_dir, ignore_errors=True)
# What the shell says about a real installation, its database above all, is not for tests.
for _name in known_names():
    os.environ.pop(_name, None)
os.environ |= {"DATA_DIR": _data_dir, "ENV_FILE": ""}
_CLOUDS = "https://api.iot.thermacell.com,https://api.rainmaker.espressif.com,loopback"
os.environ["ALLOWED_CLOUDS"] = _CLOUDS  # the tests' simulated clouds are on this machine
if _database_url := os.environ.get("TEST_RUN_DATABASE_URL"):
    os.environ["DATABASE_URL"] = _database_url

from thermacell_web.settings import *  # noqa: E402, F403
from thermacell_web.settings import DATABASES, INSTALLED_APPS, STATIC_ROOT, STORAGES  # noqa: E402

if _database_url:
    # two runs on one server must not share a database
    # a whole test is one transaction, which may wait long for other processes
    DATABASES["default"]["OPTIONS"]["options"] = "-c lock_timeout=20s"
    DATABASES["default"]["TEST"] = {"NAME": Path(_data_dir).name.replace("-", "_")}

# Tests that really commit empty the tables afterwards; see tests/management/commands/flush.py.
INSTALLED_APPS = [*INSTALLED_APPS, "tests"]

# Tests set the clock of this process; tests/models/test_database_clock.py turns this on.
DATABASE_CLOCK = False

# Hashing a password is slow on purpose; no test is about that.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES = STORAGES | {
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
STATIC_ROOT.mkdir(parents=True, exist_ok=True)
# The runs that share the folder have a database each.
_worker = os.environ.get("PYTEST_XDIST_WORKER", "alone")
AUDIT_MARKS = tuple(Path(_data_dir) / f"marks-{_worker}" / f"{name}.jsonl" for name in "abc")
