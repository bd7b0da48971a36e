import datetime
import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('devices', '0053_backups_asked_for_and_news'),
    ]

    operations = [
        migrations.CreateModel(
            name='HubPolicy',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('mode', models.CharField(choices=[('ask', 'Ask me'), ('install', 'Install by itself')], max_length=8)),
            ],
        ),
        migrations.CreateModel(
            name='UpdatePolicy',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('mode', models.CharField(choices=[('ask', 'Ask me'), ('install', 'Install by itself')], default='ask', max_length=8)),
                ('window_start', models.TimeField(default=datetime.time(22, 0))),
                ('window_end', models.TimeField(default=datetime.time(5, 0))),
                ('waiting_days', models.PositiveSmallIntegerField(default=7)),
                ('others_after_days', models.PositiveSmallIntegerField(default=3)),
                ('idle_minutes', models.PositiveSmallIntegerField(default=30)),
                ('set_by_name', models.CharField(blank=True, max_length=254)),
                ('set_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('rest_notified_at', models.DateTimeField(null=True)),
                ('next_look_at', models.DateTimeField(null=True)),
            ],
        ),
        migrations.RemoveConstraint(
            model_name='plan',
            name='plan_when_known',
        ),
        migrations.RemoveConstraint(
            model_name='plan',
            name='plan_dropped_for_a_reason',
        ),
        migrations.AddField(
            model_name='node',
            name='idle_since',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AlterField(
            model_name='homeassistanthub',
            name='when',
            field=models.CharField(choices=[('now', 'Now, in turn'), ('tonight', 'Tonight'), ('idle', 'When it is next not in use'), ('online', 'When it is back online'), ('at', 'At a set time'), ('policy', 'By the update policy')], db_default='now', default='now', max_length=8),
        ),
        migrations.AlterField(
            model_name='plan',
            name='drop_reason',
            field=models.CharField(blank=True, choices=[('offer_changed', 'The offer changed'), ('right_lost', 'The right to install was lost'), ('hub_left', 'The hub left the cloud account'), ('refused', 'Not possible when its turn came'), ('tried', 'Another install was started since'), ('dismissed', 'The version is not wanted'), ('replaced', 'Replaced by a newer plan'), ('held', 'The version is held'), ('trouble', 'Another hub had trouble with it'), ('policy', 'Not for the update policy'), ('restored', 'Ended by a backup restore')], max_length=16),
        ),
        migrations.AlterField(
            model_name='plan',
            name='when',
            field=models.CharField(choices=[('now', 'Now, in turn'), ('tonight', 'Tonight'), ('idle', 'When it is next not in use'), ('online', 'When it is back online'), ('at', 'At a set time'), ('policy', 'By the update policy')], max_length=8),
        ),
        migrations.AddConstraint(
            model_name='plan',
            constraint=models.CheckConstraint(condition=models.Q(('when__in', ['at', 'idle', 'now', 'online', 'policy', 'tonight'])), name='plan_when_known'),
        ),
        migrations.AddConstraint(
            model_name='plan',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('drop_reason__in', ['dismissed', 'held', 'hub_left', 'offer_changed', 'policy', 'refused', 'replaced', 'restored', 'right_lost', 'tried', 'trouble']), ('state', 'dropped')), models.Q(models.Q(('state', 'dropped'), _negated=True), ('drop_reason', '')), _connector='OR'), name='plan_dropped_for_a_reason'),
        ),
        migrations.AddConstraint(
            model_name='plan',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('when', 'policy'), _negated=True), models.Q(('announced_at__isnull', False), ('announced_at__lt', models.F('not_before'))), _connector='OR'), name='plan_of_policy_announced'),
        ),
        migrations.AddField(
            model_name='hubpolicy',
            name='node',
            field=models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='update_policy', to='devices.node'),
        ),
        migrations.AddField(
            model_name='updatepolicy',
            name='household',
            field=models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='update_policy', to='devices.household'),
        ),
        migrations.AddField(
            model_name='updatepolicy',
            name='set_by',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='hubpolicy',
            name='policy',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='hubs', to='devices.updatepolicy'),
        ),
        migrations.AddIndex(
            model_name='updatepolicy',
            index=models.Index(condition=models.Q(('next_look_at__isnull', False)), fields=['next_look_at'], name='policy_due'),
        ),
        migrations.AddConstraint(
            model_name='updatepolicy',
            constraint=models.CheckConstraint(condition=models.Q(('mode__in', ['ask', 'install'])), name='policy_mode_known'),
        ),
        migrations.AddConstraint(
            model_name='updatepolicy',
            constraint=models.CheckConstraint(condition=models.Q(('window_start', models.F('window_end')), _negated=True), name='policy_window_whole'),
        ),
        migrations.AddConstraint(
            model_name='hubpolicy',
            constraint=models.CheckConstraint(condition=models.Q(('mode__in', ['ask', 'install'])), name='hub_policy_mode_known'),
        ),
    ]
