"""The key pair that names this server to push services: made once, kept encrypted in the database.

So every machine at the database has the same one, a backup holds it, and a new encryption key
encrypts it again. A browser takes messages only from the key that it subscribed with.
"""

from cryptography.hazmat.primitives.asymmetric import ec

from devices.models import PushKey
from devices.notifications.push_encryption import CURVE, from_text, point_of, to_text
from devices.security.encryption import decrypt, encrypt

_KEY_BYTES = 32


def public_key() -> str:
    """Return the public key as browsers take it; makes the pair when there is none. One query."""
    return _row().public_key


def private_key() -> ec.EllipticCurvePrivateKey:
    """Return the private key; raises DecryptionError when this server's keys do not open it."""
    number = int.from_bytes(from_text(decrypt(_row().sealed_private_key)), "big")
    return ec.derive_private_key(number, CURVE)


def _row() -> PushKey:
    found = PushKey.objects.first()
    if found is None:
        fresh = ec.generate_private_key(CURVE)
        number = fresh.private_numbers().private_value
        made = {
            "sealed_private_key": encrypt(to_text(number.to_bytes(_KEY_BYTES, "big"))),
            "public_key": to_text(point_of(fresh)),
        }
        # of two at once, the second takes the key of the first
        found, _ = PushKey.objects.get_or_create(pk=1, defaults=made)
    return found
