"""Hubs: reading accounts, checking for updates, which need a person, firmware files."""
