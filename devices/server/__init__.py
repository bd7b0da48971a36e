"""How the product's processes are started, watched and stopped. No tables, no pages."""


class CannotStart(Exception):
    """The start cannot go on; its text tells a person why and what to do, in one sentence."""
