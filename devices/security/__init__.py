"""Encryption, key rotation, request origin, sign-in adapters, log lines without secrets."""
