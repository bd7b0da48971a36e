"""Keeping an installation: one file that holds all of it, made while it runs, and the way back."""


class CannotKeep(Exception):
    """The backup or the restore cannot be done; its text says why and what to do."""
