#!/usr/bin/env python
"""Run one of the product's commands: `manage.py help` lists them."""

import os
import sys

from django.core.exceptions import ImproperlyConfigured


def main() -> None:
    """Run the command; a setting that cannot be used stops with one sentence."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "thermacell_web.settings")
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as problem:
        sys.exit(f"The settings cannot be used: {problem}")


if __name__ == "__main__":
    main()
