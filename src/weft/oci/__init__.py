"""Images as values: references, digests, manifests, configs (OCI Image Specification 1.1, Docker schema 2). Pure."""
