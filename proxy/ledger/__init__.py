"""The ledger: one row per request, written behind; what was used, by whom, and what it cost."""
