"""The product's settings, with its own throw-away data folder and nobody else's variables."""

import atexit
import os
import re
import shutil
import tempfile
from pathlib import Path

_PREFIX = "thermacell-web-test-"
_EXAMPLE = Path(__file__).resolve().parent.parent / ".env.example"
# Workers and programs that a test starts share the folder of the run that started them.
_data_dir = os.environ.get("DATA_DIR", "")
if not Path(_data_dir).name.startswith(_PREFIX):
    _data_dir = tempfile.mkdtemp(prefix=_PREFIX)
    atexit.register(shutil.rmtree, _data_dir, ignore_errors=True)
# What the shell says about a real installation, its database above all, is not for tests.
for _name in re.findall(r"^#? ?([A-Z][A-Z0-9_]+)=", _EXAMPLE.read_text(), re.MULTILINE):
    os.environ.pop(_name, None)
os.environ |= {"DATA_DIR": _data_dir, "ENV_FILE": ""}
_CLOUDS = "https://api.iot.thermacell.com,https://api.rainmaker.espressif.com,loopback"
os.environ["ALLOWED_CLOUDS"] = _CLOUDS  # the tests' simulated clouds are on this machine
if _database_url := os.environ.get("TEST_RUN_DATABASE_URL"):
    os.environ["DATABASE_URL"] = _database_url

from thermacell_web.settings import *  # noqa: E402, F403
from thermacell_web.settings import (  # noqa: E402
    DATABASES,
    INSTALLED_APPS,
    STATIC_ROOT,
    STORAGES,
)

if _database_url:
    # two runs on one server must not share a database
    DATABASES["default"]["TEST"] = {"NAME": Path(_data_dir).name.replace("-", "_")}

# Tests that really commit empty the tables afterwards; see tests/management/commands/flush.py.
INSTALLED_APPS = [*INSTALLED_APPS, "tests"]

# Hashing a password is slow on purpose; no test is about that.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES = STORAGES | {
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
STATIC_ROOT.mkdir(parents=True, exist_ok=True)
