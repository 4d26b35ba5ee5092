"""What images must be made for to run here."""

import platform

# In the words of the OCI image spec, which are Go's.
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}.get(platform.machine(), platform.machine())
