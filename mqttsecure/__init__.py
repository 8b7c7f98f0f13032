"""mqttsecure: a secure MQTT broker.

Layers, lower never imports higher:
errors < wire < core < interfaces < policy < transport < service < cli < tap.
``docs/architecture.md`` draws them.
"""
