from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('devices', '0021_proposal_overtaken'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='auditevent',
            index=models.Index(fields=['household_id', 'action', '-sequence'], name='audit_by_household_action'),
        ),
    ]
