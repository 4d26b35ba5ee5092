"""Images: what is known of them, pull and push, build, and base images made without a registry."""
