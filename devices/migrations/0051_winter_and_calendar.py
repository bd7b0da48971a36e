from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('devices', '0050_saved_view'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='apitoken',
            name='token_scope_known',
        ),
        migrations.AddField(
            model_name='homeassistanthub',
            name='when',
            field=models.CharField(choices=[('now', 'Now, in turn'), ('tonight', 'Tonight'), ('idle', 'When it is next not in use'), ('online', 'When it is back online'), ('at', 'At a set time')], db_default='now', default='now', max_length=8),
        ),
        migrations.AddField(
            model_name='household',
            name='season_ended_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='household',
            name='stored_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='household',
            name='stored_by_name',
            field=models.CharField(blank=True, db_default='', default='', max_length=254),
        ),
        migrations.AddField(
            model_name='node',
            name='rehearsal',
            field=models.CharField(blank=True, choices=[('', 'Nothing'), ('rolled_back', 'Falls back to the old version'), ('stuck', 'Gets stuck in the download'), ('offline_mid_flash', 'Goes offline midway'), ('success_lie', 'Reports a success that did not happen'), ('slow', 'Is slow'), ('offer_swapped', 'Is offered something else meanwhile')], db_default='', default='', max_length=24),
        ),
        migrations.AddField(
            model_name='plan',
            name='changes',
            field=models.PositiveIntegerField(db_default=0, default=0),
        ),
        migrations.AlterField(
            model_name='apitoken',
            name='scope',
            field=models.CharField(choices=[('read', 'Read: hubs, offers and installs'), ('install', 'Read and install'), ('calendar', 'Planned installs, in a calendar')], default='read', max_length=8),
        ),
        migrations.AddConstraint(
            model_name='apitoken',
            constraint=models.CheckConstraint(condition=models.Q(('scope__in', ['calendar', 'install', 'read'])), name='token_scope_known'),
        ),
    ]
