"""What to paste into Home Assistant's configuration when there is no MQTT."""

import json

from django.conf import settings
from django.urls import reverse

from devices.hubwords import one_line
from devices.models import Node
from devices.models.node import NodeQuerySet

MOST_HUBS = 20
SECRETS = 'thermacell_web: "Bearer twh_…"'


def configuration(nodes: NodeQuerySet) -> str:
    """Return YAML for configuration.yaml: a binary sensor a hub, and a script that installs what
    it shows. It holds addresses and numbers; names appear only in comments, on one line.
    """
    listed = list(nodes[:MOST_HUBS])
    lines = ["rest:"]
    for node in listed:
        lines += _sensor(node)
    lines += [
        "rest_command:",
        "  thermacell_web_install:",
        f"    url: {_quoted(settings.PUBLIC_URL + reverse('api_installs'))}",
        "    method: post",
        "    content_type: application/json",
        "    headers:",
        "      authorization: !secret thermacell_web",
        "    payload: >-",
        '      {"node_id": {{ node_id | tojson }}, "ota_job_id": {{ ota_job_id | tojson }},',
        '      "version": {{ version | tojson }}}',
        "script:",
    ]
    for node in listed:
        lines += _script(node)
    return "\n".join(lines) + "\n"


def _sensor(node: Node) -> list[str]:
    address = settings.PUBLIC_URL + reverse("api_hub", args=[node.pk])
    return [
        f"  # {one_line(str(node), 80)}",
        f"  - resource: {_quoted(address)}",
        "    scan_interval: 60",
        "    headers:",
        "      authorization: !secret thermacell_web",
        "    binary_sensor:",
        f'      - name: "Hub {node.pk} firmware update"',
        f'        unique_id: "thermacell_web_hub_{node.pk}_update"',
        "        device_class: update",
        '        value_template: "{{ value_json.update_available }}"',
        "        json_attributes:",
        *(
            f"          - {name}"
            for name in ("name", "node_id", "installed_version", "latest_version", "offer")
        ),
        "          - install",
    ]


def _script(node: Node) -> list[str]:
    sensor = f"binary_sensor.hub_{node.pk}_firmware_update"
    return [
        f"  install_firmware_hub_{node.pk}:  # {one_line(str(node), 80)}",
        "    sequence:",
        "      - condition: state",
        f"        entity_id: {sensor}",
        '        state: "on"',
        "      - service: rest_command.thermacell_web_install",
        "        data:",
        f"          node_id: \"{{{{ state_attr('{sensor}', 'node_id') }}}}\"",
        f"          ota_job_id: \"{{{{ state_attr('{sensor}', 'offer').ota_job_id }}}}\"",
        f"          version: \"{{{{ state_attr('{sensor}', 'offer').version }}}}\"",
    ]


def _quoted(text: str) -> str:
    return json.dumps(text)
