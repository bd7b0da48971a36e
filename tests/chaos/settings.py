"""The product's own settings, and nothing else unless a build is to be broken on purpose."""

import os

from thermacell_web.settings import *  # noqa: F403
from thermacell_web.settings import INSTALLED_APPS

if os.environ.get("CHAOS_BROKEN"):
    INSTALLED_APPS = [*INSTALLED_APPS, "tests.chaos.broken.Broken"]
