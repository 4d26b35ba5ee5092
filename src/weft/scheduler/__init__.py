"""Which node a pod runs on: a queue of pods, a snapshot of nodes, rules that filter and score, and the bind."""
