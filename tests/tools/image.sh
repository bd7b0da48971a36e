#!/usr/bin/env bash
# Build the container image and run it, without a container engine: buildah, on a base made from Debian's packages.
#
# Needs root, buildah, debootstrap and network. MIRROR= names another Debian mirror. Proven here: that the
# Dockerfile builds, that nothing secret is in the image, that it runs as any user on a read-only root file
# system in its own mount and process namespaces, its health check, its log, its stop, and that its pg_dump works.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export STORAGE_DRIVER=vfs
WORK="$PWD/var/image"; BASE=localhost/thermacell-base; IMAGE=localhost/thermacell-web; PORT="${PORT:-8790}"
USER_ID=54321
mkdir -p "$WORK"

if ! buildah inspect "$BASE" >/dev/null 2>&1; then
    rm -rf "$WORK/root"
    debootstrap --variant=minbase --include=python3,python3-venv,python3-pip,ca-certificates bookworm \
        "$WORK/root" "${MIRROR:-http://deb.debian.org/debian}" >"$WORK/debootstrap.log"
    ln -sf /usr/bin/python3 "$WORK/root/usr/local/bin/python"
    rm -f "$WORK"/root/usr/lib/python3*/EXTERNALLY-MANAGED
    container="$(buildah from scratch)"
    buildah add --quiet "$container" "$WORK/root" / >/dev/null
    buildah commit --quiet "$container" "$BASE" >/dev/null
    buildah rm "$container" >/dev/null
    rm -rf "$WORK/root"
fi

# A key and a database that must not get into the image.
mkdir -p var/home; touch var/home/image-canary .env.image-canary
trap 'rm -f var/home/image-canary .env.image-canary' EXIT
# How this machine reaches its package index is no part of the image.
printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n' >"$WORK/pip.conf"
buildah bud --isolation chroot --build-arg BASE="$BASE" --tag "$IMAGE" \
    -v /etc/ssl/certs:/etc/ssl/certs:ro -v /etc/resolv.conf:/etc/resolv.conf:ro -v "$WORK/pip.conf:/etc/pip.conf:ro" . \
    >"$WORK/build.log" 2>&1 || { tail -n 30 "$WORK/build.log"; exit 1; }

container="$(buildah from "$IMAGE")"
root="$(buildah mount "$container")"
data="$(mktemp -d)"; chown "$USER_ID:0" "$data"; chmod 700 "$data"
log="$WORK/run.log"
clean_up() {
    [ -z "${started:-}" ] || kill -KILL "$started" 2>/dev/null || true
    buildah umount "$container" >/dev/null; buildah rm "$container" >/dev/null
    rm -rf "$data" var/home/image-canary .env.image-canary
}
trap clean_up EXIT
fail() { echo "The image: $1" >&2; tail -n 20 "$log" >&2 || true; exit 1; }

found="$(cd "$root/app" && find . -name '*canary*' -o -name var -o -name .git -o -name '.env' -o -name tests -o -name docs -o -name keys.json)"
[ -z "$found" ] || fail "holds what it must not: $found"

# Its own mounts and processes, a read-only root, no capabilities, a user that no file knows.
inside() {
    exec unshare --mount --pid --fork --kill-child=KILL --mount-proc="$root/proc" bash -euc '
        root="$1"; data="$2"; user="$3"; shift 3
        mount --bind "$root" "$root"
        for place in null zero urandom; do touch "$root/dev/$place"; mount --bind "/dev/$place" "$root/dev/$place"; done
        mkdir -p "$root/dev/shm"
        mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/tmp"
        mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/dev/shm"
        mount --bind "$data" "$root/data"
        mount -t proc proc "$root/proc"
        mount -o remount,bind,ro "$root"
        exec chroot "$root" setpriv --reuid "$user" --regid 0 --clear-groups --no-new-privs --bounding-set=-all \
            env -i PATH=/usr/local/bin:/usr/bin:/bin HOME=/tmp DATA_DIR=/data BIND=0.0.0.0 LOG_TO=stdout LOG_FORMAT=json \
            PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PORT='"$PORT"' bash -c "cd /app && exec \"\$@\"" sh "$@"
    ' sh "$root" "$data" "$USER_ID" "$@"
}
mkdir -p "$root/data" "$root/proc" "$root/tmp"

(inside bash -c 'touch /app/x 2>/dev/null && exit 1; pg_dump --version && id -u') || fail "the root file system can be written"
inside python manage.py start >"$log" 2>&1 &
started=$!
check=(python -c "import urllib.request as r; r.urlopen('http://127.0.0.1:$PORT/readyz', timeout=8)")
for _ in $(seq 120); do
    "${check[@]}" 2>/dev/null && break
    kill -0 "$started" 2>/dev/null || fail "ended"
    sleep 1
done
"${check[@]}" || fail "does not get ready"
python3 -c "import urllib.request as r; r.urlopen('http://127.0.0.1:$PORT/', timeout=8)"
python3 - "$log" <<'PYTHON' || fail "a line on standard output is no JSON"
import json, sys
lines = open(sys.argv[1]).read().splitlines()
assert all(json.loads(line)["message"] for line in lines) and len(lines) > 2, lines
PYTHON
owners="$(find "$data" -type f ! -user "$USER_ID")"
[ -z "$owners" ] || fail "files in /data belong to others: $owners"
pkill -TERM --parent "$started" 2>/dev/null || true
for _ in $(seq 30); do kill -0 "$started" 2>/dev/null || break; sleep 1; done
kill -0 "$started" 2>/dev/null && fail "does not stop within 30 s"
started=
grep -q "Everything has stopped" "$log" || fail "did not stop in order"
echo "The image builds, runs as user $USER_ID on a read-only root, gets ready, logs JSON and stops in order:" \
    "$(du -sm "$root" | cut -f 1) MB, of which the base has $(buildah inspect --type image "$BASE" >/dev/null && du -sm "$root/usr" | cut -f 1) in /usr."
