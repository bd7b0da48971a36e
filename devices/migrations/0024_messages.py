"""What is stored for people becomes codes with parameters instead of English sentences.

Sentences that any version wrote are recognised and converted; one that is not recognised stays as
it is, and is shown as it stands.
"""

import json
import re

from django.db import migrations, models

FIELDS = {
    'Batch': 'why_stopped',
    'BatchItem': 'reason',
    'Proposal': 'why_not',
    'Channel': 'trouble',
    'ImageFetch': 'note',
    'Beat': 'restart_reason',
    'HomeAssistantHub': 'refusal',
    'AuditCheck': 'head_trouble',
}
SENTENCES = {
    'queue_stopped': 'A queue of updates stopped. %(words)s',
    'queue_stopped_by': 'Stopped by %(name)s.',
    'queue_hub_failed': '%(hub)s did not end well, so nothing more was started.',
    'queue_signed_out': 'The cloud account has to sign in again before more can be started.',
    'queue_too_old': 'The confirmation is too old now; what still waited was not started.',
    'hub_too_old': 'The confirmation became too old.',
    'hub_person_left': 'Who confirmed it has left this server.',
    'restored': 'This server was restored; it may have been started since the backup was made.',
    'hub_gone': 'The cloud account no longer has this hub.',
    'account_unlinked': 'The cloud account of this hub is unlinked.',
    'account_signed_out': 'The cloud account of this hub has to sign in again first.',
    'no_offer': 'There is no new firmware for this hub right now.',
    'already_installed': 'The hub already runs %(version)s.',
    'hub_offline': 'The hub is offline. It must be online to take new firmware.',
    'job_running': 'An install is already running on this hub.',
    'offer_swapped': 'What the cloud offers is no longer what the form showed.',
    'may_not_install': 'Your role here may look, but not install. Ask a member or owner.',
    'proposed': '%(name)s proposes %(version)s for %(hub)s. You decide.',
    'hub_in_use': 'The hub is in use.',
    'night_over': 'The night was over before it could be tried.',
    'press_retained': 'A stored install command was found at the broker and thrown away: only a fresh press counts.',
    'press_unreadable': 'The command was not one that this entity was announced with.',
    'press_used': 'This press was used before; press again if you mean it.',
    'press_not_allowed': 'Home Assistant may not install on this hub: an owner of the household can allow it on its page Home Assistant here.',
    'press_no_longer_allowed': 'Whoever allowed Home Assistant to install no longer owns this household: an owner has to allow it again.',
    'press_hub_in_use': "The hub is protecting somebody right now, and installing would stop it: turn the repellent off first, or install from the hub's page here.",
    'press_offer_changed': 'What is offered changed since it was shown (%(told)s).',
    'press_sent_nothing': 'This press sent nothing to the hub.',
    'not_made': 'The message could not be made. That is a fault of ours; the log has more.',
    'address_sealed': "Its address cannot be opened with this server's keys: enter it again.",
    'not_taken': 'The service did not take the message, or did not answer.',
    'no_mail_server': 'This server has no mail server: whoever runs it can name one with EMAIL_URL.',
    'mail_not_taken': 'The mail server did not take it (%(problem)s).',
    'service_unknown': 'This is no service that this server can use. It knows %(known)s.',
    'service_misspelt': 'This address is not complete, or misspelt. Copy it once more.',
    'service_host_not_allowed': 'This server sends to no host but those that whoever runs it named in NOTIFY_HOSTS: %(allowed)s. Write the host out, such as ntfys://ntfy.sh/my-topic.',
    'file_not_offered': 'The cloud no longer offers this file.',
    'file_other_now': 'The cloud now names another size or MD5.',
    'file_no_link': 'The cloud no longer gives a link to the file.',
    'file_link_no_address': 'The link to the file is not an address.',
    'file_link_not_https': 'The link to the file must begin with https://.',
    'file_link_private': 'The link to the file leads to a machine inside a private network (%(host)s); it is not called.',
    'file_link_moved': 'The link to the file points on to another address; not followed.',
    'file_link_expired': 'The link to the file is no longer valid.',
    'file_packed': 'The file came packed in a way it was not asked for.',
    'file_server_busy': 'The server of the file asks for fewer requests.',
    'file_server_trouble': 'The server of the file has a problem of its own.',
    'file_server_unreachable': 'The server of the file, %(host)s, cannot be reached.',
    'file_not_there': 'The server of the file has no such file (HTTP %(status)s).',
    'file_too_large': 'The file is larger than %(bytes)s bytes.',
    'file_cut_off': 'The file did not arrive whole.',
    'file_other_size': 'The file has %(bytes)s bytes; the cloud says %(said)s.',
    'file_other_md5': "The file's MD5 is %(md5)s; the cloud says %(said)s.",
    'file_without_md5': 'The cloud gives no MD5 for it.',
    'file_no_md5': 'What the cloud gives as its MD5 is none: it is not hexadecimal.',
    'file_without_size': 'The cloud gives no size for it.',
    'worker_stopped': 'it had stopped',
    'worker_silent': 'it had stopped answering',
    'head_not_written': 'The daily head could not be written: %(problem)s.',
    'head_not_mailed': 'The daily head could not be mailed: %(problem)s.',
}


def pattern(sentence):
    parts = re.split(r'%\((\w+)\)s', sentence)
    words = [re.escape(part) for part in parts[::2]]
    holes = [f'(?P<{name}>.+?)' for name in parts[1::2]] + ['']
    if not words[-1]:
        holes[-2] = holes[-2].replace('.+?', '.+')  # what comes last takes all that follows
    return re.compile(''.join(map(''.join, zip(words, holes))) + r'(?:$|\s+)')


# one may begin like another
PATTERNS = [
    (code, pattern(sentence))
    for code, sentence in sorted(SENTENCES.items(), key=lambda item: len(item[1]), reverse=True)
]


def recognised(text):
    """Return the text as a list of codes with parameters; None when any of it is something else."""
    parts, rest = [], text
    while rest:
        for code, known in PATTERNS:
            if found := known.match(rest):
                break
        else:
            return None
        params = found.groupdict()
        if code == 'queue_stopped':
            params['words'] = recognised(params['words']) or params['words']
        parts.append({'code': code, 'params': params})
        rest = rest[found.end():]
    return parts


def convert(apps, schema_editor):
    for model, field in FIELDS.items():
        rows = apps.get_model('devices', model).objects
        for pk, text in rows.exclude(**{field: ''}).values_list('pk', field).iterator():
            if parts := recognised(text):
                rows.filter(pk=pk).update(**{field: json.dumps(parts)})
    notices = apps.get_model('devices', 'Notice').objects
    for notice in notices.filter(facts__has_key='words').iterator():
        words = notice.facts.pop('words')
        notice.facts['message'] = recognised(words) or words
        notice.save(update_fields=['facts'])


LONGEST = {'refusal': 500, 'restart_reason': 80}


def sentence(kept):
    """Return the English text of what was kept; what is no list of codes stays as it is."""
    try:
        parts = json.loads(kept) if isinstance(kept, str) else kept
        return ' '.join(
            SENTENCES.get(part['code'], '%(text)s' if part['code'] == 'as_it_stands' else part['code'])
            % {k: sentence(v) if isinstance(v, list) else v for k, v in part['params'].items()}
            for part in parts
        )
    except (ValueError, KeyError, TypeError):
        return str(kept)


def revert(apps, schema_editor):
    for model, field in FIELDS.items():
        rows = apps.get_model('devices', model).objects
        for pk, kept in list(rows.exclude(**{field: ''}).values_list('pk', field)):
            rows.filter(pk=pk).update(**{field: sentence(kept)[: LONGEST.get(field, 300)]})
    for notice in list(apps.get_model('devices', 'Notice').objects.all()):
        if 'message' in notice.facts:
            notice.facts['words'] = sentence(notice.facts.pop('message'))
            notice.save(update_fields=['facts'])


class Migration(migrations.Migration):

    dependencies = [
        ('devices', '0023_outcome_known'),
    ]

    operations = [
        *(
            migrations.AlterField(model_name=model.lower(), name=field, field=models.TextField(blank=True))
            for model, field in FIELDS.items()
        ),
        migrations.RunPython(convert, revert),
    ]
