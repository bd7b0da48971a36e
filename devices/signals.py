"""What happens by itself: sign-ins are recorded, schedules exist after every migration."""


def connect() -> None:
    """Connect the receivers; called once when the app is ready."""
