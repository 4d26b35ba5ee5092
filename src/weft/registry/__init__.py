"""The OCI registry: blobs, uploads, manifests, tags and referrers over HTTP (OCI distribution spec 1.1)."""
