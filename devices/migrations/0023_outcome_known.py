"""Every outcome of an install is one of a closed set.

Two codes were never written by any version; a row that holds another one all the same is shown as
its state alone, as it was before. The trail keeps what was recorded.
"""

from django.db import migrations, models

KNOWN = [
    '', 'account_unlinked', 'already_installed', 'attempts_failed', 'bad_payload', 'bad_window', 'cancelled',
    'chip_revision', 'claimed_success_other_version', 'claimed_success_same_version', 'failed', 'hub_offline',
    'never_ended', 'no_answer_from_cloud', 'not_current', 'not_for_hub', 'not_mine', 'not_seen_online',
    'not_sent_in_time', 'offer_swapped', 'offer_withdrawn', 'project_name', 'push_unknown', 'refused_by_cloud',
    'rejected', 'restored_unsent', 'rolled_back', 'same_version', 'secure_version', 'signed_out', 'silent', 'stuck',
    'verified', 'verified_late', 'version_despite_failed', 'version_despite_rejected', 'version_without_success',
    'went_offline', 'window_lapsed',
]


def clear_others(apps, schema_editor):
    apps.get_model('devices', 'OtaJob').objects.exclude(outcome__in=KNOWN).update(outcome='')


class Migration(migrations.Migration):

    dependencies = [
        ('devices', '0022_audit_by_household_action'),
    ]

    operations = [
        migrations.RunPython(clear_others, migrations.RunPython.noop),
        migrations.AddConstraint(
            model_name='otajob',
            constraint=models.CheckConstraint(condition=models.Q(('outcome__in', KNOWN)), name='job_outcome_known'),
        ),
    ]
