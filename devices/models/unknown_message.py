"""Texts of hubs and clouds that our catalogue does not explain yet.

They are shown to people word for word. The counts show the maintainers of this product what
to explain next.
"""

from django.db import models
from django.utils.translation import gettext_lazy


class Source(models.TextChoices):
    HUB = "hub", gettext_lazy("Hub report")
    CLOUD = "cloud", gettext_lazy("A cloud error")


class UnknownText(models.Model):
    """One text that is not known, its numbers left out, and how often it came."""

    source = models.CharField(max_length=8, choices=Source.choices)
    # The status word that came with it, or the cloud's error number.
    word = models.CharField(max_length=64, blank=True)
    # As it arrived the first time.
    text = models.CharField(max_length=300, blank=True)
    # The text without its numbers: "at 4711 bytes" and "at 4712 bytes" are one.
    shape = models.CharField(max_length=300, blank=True)
    count = models.PositiveBigIntegerField(default=1)
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    # The hub models that sent it, separated by commas.
    hub_models = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["-last_seen_at", "pk"]
        constraints = [
            models.UniqueConstraint(fields=["source", "word", "shape"], name="unknown_text_once")
        ]

    def __str__(self) -> str:
        return f"{self.word}: {self.text}"
