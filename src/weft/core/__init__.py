"""Small things that every layer needs: ids, clocks, tasks, errors, logging, quantities, settings."""
