"""Fill the demo: sample households, people, and their accounts at the simulated cloud."""

from devices.server.demo_data import DemoData


class Command(DemoData):
    pass
