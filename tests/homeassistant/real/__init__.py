"""The product beside a real Home Assistant: `make homeassistant`."""
