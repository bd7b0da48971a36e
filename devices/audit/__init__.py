"""The audit trail: record, verify, search, export, maintain."""
