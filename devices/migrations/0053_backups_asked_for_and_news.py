from django.db import migrations, models

import devices.models.household


class Migration(migrations.Migration):

    dependencies = [
        ("devices", "0052_push_devices"),
    ]

    operations = [
        migrations.AddField(
            model_name="backuprun",
            name="asked_by_name",
            field=models.CharField(blank=True, db_default="", default="", max_length=254),
        ),
        migrations.AddField(
            model_name="backuprun",
            name="is_waiting",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddField(
            model_name="backuprun",
            name="host",
            field=models.CharField(blank=True, db_default="", default="", max_length=120),
        ),
        migrations.AddField(
            model_name="user",
            name="news_seen",
            field=models.CharField(
                blank=True,
                db_default="",
                default=devices.models.household.current_version,
                max_length=32,
            ),
        ),
    ]
