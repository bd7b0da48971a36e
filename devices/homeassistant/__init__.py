"""Home Assistant over MQTT: every hub as a native update entity, and its install button."""
