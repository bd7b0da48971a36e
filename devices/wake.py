"""Wake a worker. What is to be done lives in the tables; a wake-up only says "look now"."""

from django_q.tasks import async_task

INSTALLS = "devices.tasks.installs_loop"
CHORES = "devices.tasks.chores_loop"


def wake_installs() -> None:
    """Ask for the install loop: in a transaction the wake-up is committed with the intent."""
    async_task(INSTALLS)


def wake_chores() -> None:
    """Ask for the loop that reads accounts and checks hubs for firmware."""
    async_task(CHORES)
