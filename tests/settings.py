"""The product's settings, with its own throw-away data folder."""

import os
import tempfile

_data_dir = tempfile.mkdtemp(prefix="thermacell-web-test-")
os.environ.setdefault("DATA_DIR", _data_dir)
os.environ["ENV_FILE"] = ""

from thermacell_web.settings import *  # noqa: E402, F403
from thermacell_web.settings import STATIC_ROOT, STORAGES  # noqa: E402

# Hashing a password is slow on purpose; no test is about that.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES = STORAGES | {
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
STATIC_ROOT.mkdir(parents=True, exist_ok=True)
