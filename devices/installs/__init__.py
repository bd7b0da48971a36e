"""Installs: confirm, push, follow, judge."""
