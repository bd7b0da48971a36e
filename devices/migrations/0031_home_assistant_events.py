"""Remember which event Home Assistant was sent last, so that none is lost or sent twice."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("devices", "0030_people")]

    operations = [
        migrations.AddField(
            model_name="homeassistanthub",
            name="job_event",
            field=models.CharField(blank=True, max_length=40, default='', db_default=''),
        ),
        migrations.AddField(
            model_name="homeassistanthub",
            name="refusal_event_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
    ]
