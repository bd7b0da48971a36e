from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('devices', '0020_account_revision'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='proposal',
            name='proposal_state_known',
        ),
        migrations.AlterField(
            model_name='proposal',
            name='state',
            field=models.CharField(choices=[('open', 'Waits for an answer'), ('tonight', 'Tonight'), ('accepted', 'Accepted'), ('declined', 'Not this one'), ('withdrawn', 'Withdrawn'), ('expired', 'No answer in time'), ('missed', 'Not possible that night'), ('overtaken', 'Came to the hub another way'), ('restored', 'Ended by a restore')], default='open', max_length=10),
        ),
        migrations.AddConstraint(
            model_name='proposal',
            constraint=models.CheckConstraint(condition=models.Q(('state__in', ['accepted', 'declined', 'expired', 'missed', 'open', 'overtaken', 'restored', 'tonight', 'withdrawn'])), name='proposal_state_known'),
        ),
    ]
