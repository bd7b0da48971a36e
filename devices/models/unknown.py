"""Words that nobody has explained yet: what hubs and clouds said that our catalogue does not know.

They are shown to people as they were said. Counted here, they tell whoever keeps this product what
to explain next.
"""

import re
from datetime import datetime

from django.db import models, transaction
from django.db.models import F
from django.utils.translation import gettext_lazy

# A cloud that makes up a new text each time fills no disk: beyond this the rarest makes room.
MOST_ROWS = 500
MOST_MODELS = 8


class Source(models.TextChoices):
    HUB = "hub", gettext_lazy("A hub's report")
    CLOUD = "cloud", gettext_lazy("An error of the cloud")


class UnknownText(models.Model):
    """One text that is not known, whichever numbers were in it, and how often it came."""

    source = models.CharField(max_length=8, choices=Source.choices)
    # The status word that came with it, or the cloud's error number.
    word = models.CharField(max_length=64, blank=True)
    # As it was said the first time.
    text = models.CharField(max_length=300, blank=True)
    # The text without its numbers: "at 4711 bytes" and "at 4712 bytes" are one.
    shape = models.CharField(max_length=300, blank=True)
    count = models.PositiveBigIntegerField(default=1)
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    # Which hub models said it, separated by commas.
    hub_models = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["-last_seen_at", "pk"]
        constraints = [
            models.UniqueConstraint(fields=["source", "word", "shape"], name="unknown_text_once")
        ]

    def __str__(self) -> str:
        return f"{self.word}: {self.text}"


def count_unknown(
    source: Source, word: str, text: str, now: datetime, *, hub_model: str = ""
) -> None:
    """Count a text that is not known. Two queries, four for one that is new."""
    word, text = word.replace("\0", "")[:64], text.replace("\0", "")[:300]
    shape = re.sub(r"\d+", "#", text)
    with transaction.atomic():
        seen, is_new = UnknownText.objects.get_or_create(
            source=source,
            word=word,
            shape=shape,
            defaults={
                "text": text,
                "first_seen_at": now,
                "last_seen_at": now,
                "hub_models": _with("", hub_model),
            },
        )
        if is_new:
            _make_room(seen)
            return
        UnknownText.objects.filter(pk=seen.pk).update(
            count=F("count") + 1, last_seen_at=now, hub_models=_with(seen.hub_models, hub_model)
        )


def _with(models_: str, model: str) -> str:
    """Return the models and this one, as far as there is room."""
    known = [name for name in models_.split(", ") if name]
    name = model.replace(",", " ").strip()[:32]
    if name and name not in known and len(known) < MOST_MODELS:
        known.append(name)
    return ", ".join(known)


def _make_room(newest: UnknownText) -> None:
    others = UnknownText.objects.exclude(pk=newest.pk)
    if others.count() >= MOST_ROWS:
        rarest = others.order_by("count", "last_seen_at").values("pk")[:1]
        UnknownText.objects.filter(pk__in=list(rarest.values_list("pk", flat=True))).delete()
