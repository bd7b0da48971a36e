from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('devices', '0042_queues_and_nights_become_plans'),
    ]

    operations = [
        migrations.RemoveField(
            model_name='batch',
            name='expires_at',
        ),
        migrations.RemoveField(
            model_name='proposal',
            name='next_try_at',
        ),
        migrations.RemoveField(
            model_name='proposal',
            name='try_until',
        ),
        migrations.RemoveField(
            model_name='proposal',
            name='why_not',
        ),
        migrations.DeleteModel(
            name='BatchItem',
        ),
    ]
