# The product in one image: `docker compose up` runs web server and worker from it.
FROM python:3.11-slim-bookworm
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 DATA_DIR=/data BIND=0.0.0.0
WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt && useradd --create-home app && install -d -o app /data
COPY manage.py ./
COPY thermacell_web thermacell_web
COPY devices devices
COPY templates templates
COPY static static
COPY .env.example ./
USER app
VOLUME /data
EXPOSE 8000
# Starts, watches and stops the processes; a signal to it stops them in order.
CMD ["python", "manage.py", "start"]
