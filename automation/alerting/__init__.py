"""Telling people what is wrong: rules, incidents, and who is told.

rules      what is watched and from when on it is wrong: `alerts.yaml`, and the installation's own file over it
sightings  what is noticed on the spot, left as a row by whoever notices it
checks     what is found by looking
incidents  PENDING → FIRING → RESOLVED
silences   who looks after an incident, and what nobody wants to hear of
telling    who is told, when, in which words; deliveries go by the outbox and by signed webhook
loop       all of it, once a second
away       what is told when the database does not answer
"""
