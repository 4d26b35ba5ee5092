"""The container engine: content, images, snapshots, containers, runtimes; `node/` and `dockerapi/` are its faces."""
