"""Cloud accounts: linking, sessions, failures, automatic sign-in."""
