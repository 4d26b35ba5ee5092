"""The node agent: Pods of the API as containers of the engine, services and names as rules and records.

agent.py          the loop over pods; one worker for each
pods/             what a pod needs next (pure), its status (pure), and the doing
probes.py         when to probe and what results mean (pure); prober.py does it
environment.py    variables of a container; volumes/ its files; images.py its image
registration.py   the Node object and its heartbeats
kubelet_api.py    logs, exec and attach for the API server
services.py dns.py   Services and EndpointSlices handed to the network
"""
