"""Hubs and installs as JSON, for programs with a personal token."""
