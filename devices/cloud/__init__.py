"""The RainMaker cloud, as this product talks to it: typed answers, one error tree, one client.

Knows neither Django nor the database. Facts about the wire are those of the ESP RainMaker API 3.8.0
unless a comment names another source.
"""

from devices.cloud.client import RainmakerClient

__all__ = ["RainmakerClient"]
