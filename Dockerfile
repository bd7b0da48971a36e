# The product in one image: everything in one container, or `start --only web` and `--only worker`.
# BASE may name another image with Python 3.11 or newer, Debian's packages and apt.
ARG BASE=docker.io/library/python:3.11-slim-bookworm
FROM ${BASE}
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp \
    DATA_DIR=/data BIND=0.0.0.0 LOG_TO=stdout
WORKDIR /app
# Backups and restores of PostgreSQL need its client: version 15, as the server in compose.services.yaml.
RUN apt-get update && apt-get install --yes --no-install-recommends postgresql-client \
    && rm -rf /var/lib/apt/lists/* /var/cache/debconf/*
COPY requirements.txt .
RUN python -m pip install --no-cache-dir --require-hashes -r requirements.txt
COPY manage.py .env.example CHANGELOG.md ./
COPY thermacell_web thermacell_web
COPY devices devices
COPY templates templates
COPY static static
# Compiled now, since the file system may be read-only later. Any user of group 0 may use /data.
RUN python -m compileall -q devices thermacell_web && install -d -o 10001 -g 0 -m 0770 /data /data/firmware /data/backups
USER 10001:0
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s CMD ["python", "-c", \
    "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ.get(\"PORT\") or 8000}/readyz', timeout=8)"]
# Starts, watches and stops the processes; a signal to it stops them in order.
ENTRYPOINT ["python", "manage.py"]
CMD ["start"]
