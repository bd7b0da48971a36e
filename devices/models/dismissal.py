"""Versions that a household does not want: "Not this version", for one hub or for all its hubs."""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from devices.models.household import Household, User
from devices.models.node import Node
from devices.models.version_text import is_same_version


class Dismissal(models.Model):
    """Until it is undone, this version is not offered here. Another version is."""

    household = models.ForeignKey(Household, on_delete=models.CASCADE, related_name="dismissals")
    # Empty: every hub of the household.
    node = models.ForeignKey(
        Node, null=True, blank=True, on_delete=models.CASCADE, related_name="dismissals"
    )
    version = models.CharField(max_length=64)
    dismissed_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    dismissed_by_name = models.CharField(max_length=254)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["node", "version"],
                condition=Q(node__isnull=False),
                name="dismissed_once_per_hub",
            ),
            models.UniqueConstraint(
                fields=["household", "version"],
                condition=Q(node__isnull=True),
                name="dismissed_once_per_household",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.version} of {self.node or self.household}"

    def covers(self, node: Node, version: str) -> bool:
        """Does this say that the version is not wanted on this hub, in any spelling and
        account? Reads the accounts of both hubs.
        """
        if not is_same_version(self.version, version):
            return False
        own = self.node
        return own is None or (own.node_id, own.account.base_url) == (
            node.node_id,
            node.account.base_url,
        )

    @classmethod
    def of_household(cls, household_id: int) -> "list[Dismissal]":
        """Return what is dismissed in a household, first what is for all its hubs. One query."""
        rows = cls.objects.filter(household_id=household_id).select_related("node__account")
        return sorted(rows, key=lambda one: (one.node_id is not None, one.pk))

    @classmethod
    def covering(cls, node: Node, version: str) -> "Dismissal | None":
        """Return what dismisses this version on this hub, if anything. One query."""
        rows = cls.of_household(node.account.household_id)
        return next((one for one in rows if one.covers(node, version)), None)
