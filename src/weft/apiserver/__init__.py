"""The API server: resources over HTTP and in process, by Kubernetes's protocol.

A request runs through `routes` (URL to verb), `auth`, `negotiation` and `codec` (body to object), one file of `verbs`,
`admission` (mutation and checks per kind) and `objects` (objects in the store, decoded in `cache`).
`server.ApiServer` puts the parts together.
"""
