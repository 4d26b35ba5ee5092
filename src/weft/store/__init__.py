"""Keys, revisions, transactions and watches: the contract in `base`, SQLite's answer to it in `sqlite`."""
