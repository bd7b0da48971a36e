"""The RainMaker cloud, as this product talks to it: typed answers, one error tree, one client.

Knows neither Django nor the database. Facts about the wire are those of the ESP RainMaker API 3.8.0
unless a comment names another source.
"""

from devices.rainmaker.client import RainmakerClient
from devices.rainmaker.http import checked_base_url

__all__ = ["RainmakerClient", "checked_base_url"]
