"""Shared by the terminal commands: the acting person, finding hubs, output and waiting."""
