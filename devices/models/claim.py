"""Which process works for which cloud account now, where several machines share the work."""

from django.db import models

from devices.models.account import CloudAccount


class Claim(models.Model):
    """One account in one loop. A claim that is not renewed runs out, by the database's clock."""

    loop = models.CharField(max_length=16)
    account = models.ForeignKey(CloudAccount, on_delete=models.CASCADE, related_name="claims")
    holder = models.CharField(max_length=64, blank=True)
    held_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["loop", "account"], name="one_claim_per_account")
        ]
        indexes = [models.Index(fields=["loop", "holder"], name="claims_of_a_process")]

    def __str__(self) -> str:
        return f"{self.loop}: account {self.account_id}"
