"""The `cotpd` command."""
