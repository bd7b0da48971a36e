"""Count the messages that nothing explains yet."""

import re
from datetime import datetime

from django.db import transaction
from django.db.models import F

from devices.models.text import clip
from devices.models.unknown_message import Source, UnknownText

# A cloud that makes up a new text each time fills no disk: beyond this the rarest makes room.
MOST_ROWS = 500
MOST_MODELS = 8


def count_unknown(
    source: Source, word: str, text: str, now: datetime, *, hub_model: str = ""
) -> None:
    """Count a text that is not known. Two queries, four for one that is new."""
    word, text = clip(word, 64), clip(text, 300)
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
