"""Give the database its birth, seal the head of an empty trail with it, and keep what confirms it."""

import hashlib
import hmac
import secrets

from django.conf import settings
from django.db import migrations, models

FIRST_DIGEST = "0" * 64


def seal_birth(apps, schema_editor):
    Head, Event = (apps.get_model("devices", name) for name in ("AuditHead", "AuditEvent"))
    head = Head.objects.filter(pk=1).first()
    if head is None:
        if Event.objects.exists():
            return  # the head was removed: that stays visible
        head = Head(pk=1, sequence=0, digest=FIRST_DIGEST)
    head.birth = secrets.token_hex(16)
    if head.sequence == 0 and not Event.objects.exists():
        text = f"head\n0\n{head.digest}\n{head.birth}"
        key = str(settings.AUDIT_KEY).encode()
        head.seal = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    head.save()


class Migration(migrations.Migration):

    dependencies = [
        ("devices", "0026_cloud_sessions"),
    ]

    operations = [
        migrations.AddField(
            model_name="audithead",
            name="birth",
            field=models.CharField(blank=True, db_default="", default="", max_length=32),
        ),
        migrations.AddField(
            model_name="auditcheck",
            name="proven_by",
            field=models.CharField(
                blank=True,
                choices=[
                    ("marks", "the marks in the data folder"),
                    ("heads", "the file of daily heads"),
                    ("given", "a head that was kept elsewhere"),
                ],
                default="",
                db_default="",
                max_length=8,
            ),
        ),
        migrations.AddField(
            model_name="auditcheck",
            name="proven_sequence",
            field=models.BigIntegerField(default=0, db_default=0),
        ),
        migrations.AddField(
            model_name="auditcheck",
            name="requested_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.RunPython(seal_birth, migrations.RunPython.noop),
    ]
