from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("devices", "0048_put_settings_back"),
    ]

    operations = [
        migrations.AddField(
            model_name="user",
            name="list_view",
            field=models.CharField(blank=True, db_default="", default="", max_length=8),
        ),
    ]
