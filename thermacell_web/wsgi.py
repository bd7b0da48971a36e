"""The web server's entry point."""

import gc
import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "thermacell_web.settings")

application = get_wsgi_application()
# What is loaded by now stays. A collection that looked at it again would hold a page up for 40 ms,
# and would copy it for each worker that was forked.
gc.freeze()
