"""One pod on this node: observe, decide (pure), act, report."""
