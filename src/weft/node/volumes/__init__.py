"""The volumes of pods: one file each; `manager.py` mounts, fills, refreshes and removes them.

ConfigMap, Secret, downward API and projected volumes are payloads (pure: files by path), written by
`atomic_writer.py`; emptyDir and hostPath are directories.
"""
