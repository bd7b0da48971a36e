"""Views of the list of hubs that a person named, to come back to."""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from devices.models.household import User

MOST_VIEWS = 20


class SavedViewQuerySet(models.QuerySet["SavedView"]):
    def seen_by(self, user: User) -> "SavedViewQuerySet":
        """Return a person's own views; staff also see what other staff share."""
        mine = Q(user=user)
        if user.staff_role:
            mine |= Q(is_shared=True) & ~Q(user__staff_role="")
        return self.filter(mine)


class SavedView(models.Model):
    """A name for a query string of the list. It opens nothing: each person who follows it sees the
    hubs that they may see.
    """

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="saved_views")
    name = models.CharField(max_length=40)
    query = models.TextField(blank=True)
    is_shared = models.BooleanField(default=False)
    made_at = models.DateTimeField(default=timezone.now)

    objects = SavedViewQuerySet.as_manager()

    class Meta:
        ordering = ("name", "pk")
        constraints = [models.UniqueConstraint(fields=["user", "name"], name="one_view_of_a_name")]

    def __str__(self) -> str:
        return self.name
