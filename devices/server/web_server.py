"""The web server's processes: one that watches, and those that serve (web_worker)."""

import os
from collections.abc import Callable
from importlib import import_module
from typing import Any

from django.conf import settings
from django.urls import reverse
from django.utils.log import configure_logging
from gunicorn.app.base import BaseApplication

APPLICATION = "thermacell_web.wsgi"


class WebServer(BaseApplication):  # type: ignore[misc]  # gunicorn carries no types
    """gunicorn with the options given."""

    def __init__(self, options: dict[str, object]) -> None:
        self.options = options
        super().__init__()

    def load_config(self) -> None:
        for name, value in self.options.items():
            self.cfg.set(name, value)

    def load(self) -> Callable[..., Any]:
        configure_logging(settings.LOGGING_CONFIG, settings.LOGGING)  # gunicorn set up its own
        application: Callable[..., Any] = import_module(APPLICATION).application
        return application


def serve(bind: str, port: int) -> None:
    """Serve until SIGTERM."""
    options: dict[str, object] = {
        "bind": f"[{bind}]:{port}" if ":" in bind else f"{bind}:{port}",
        "worker_class": "devices.server.web_worker.BufferedWorker",
        "workers": settings.WEB_PROCESSES,
        "graceful_timeout": 4,
        "backlog": 2048,
        "max_requests": 20_000,
        "max_requests_jitter": 2_000,
        "control_socket_disable": True,
        "loglevel": "warning",
        "preload_app": True,  # a new process is there at once
    }
    if os.access("/dev/shm", os.W_OK):  # noqa: S108 - a slow disk would look like a dead worker
        options["worker_tmp_dir"] = "/dev/shm"  # noqa: S108
    WebServer(options).run()


def load_pages() -> None:
    """Load every page's code, which Django does at the first request."""
    reverse("healthz")
