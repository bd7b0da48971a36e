"""The one app: hubs mirrored from their cloud, firmware installs, and the evidence."""
