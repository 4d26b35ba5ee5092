"""Layers on disk: unpacked once each, stacked by overlayfs under each container's own changes."""
