"""What ends a person's access, and whose address only an owner vouched for."""

import django.db.models.functions
import django.utils.timezone
from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def mark_invited(apps: Apps, _: BaseDatabaseSchemaEditor) -> None:
    """Mark people who joined by an invitation: how they got the link is not known any more."""
    accepted = apps.get_model("devices", "Invitation").objects.filter(is_accepted=True)
    people = apps.get_model("devices", "User").objects.filter(staff_role="")
    people.filter(email__in=accepted.values("email")).update(is_address_unproven=True)


class Migration(migrations.Migration):
    dependencies = [("devices", "0029_hubs_twice_listed")]

    operations = [
        migrations.AddField("user", "access_epoch", models.PositiveIntegerField(db_default=0, default=0)),
        migrations.AddField("user", "is_address_unproven", models.BooleanField(db_default=False, default=False)),
        migrations.AddField(
            "user", "password_by_link_at", models.DateTimeField(blank=True, null=True)
        ),
        migrations.AddField(
            "membership",
            "role_at",
            models.DateTimeField(
                db_default=django.db.models.functions.Now(), default=django.utils.timezone.now
            ),
        ),
        migrations.RunPython(mark_invited, migrations.RunPython.noop),
    ]
