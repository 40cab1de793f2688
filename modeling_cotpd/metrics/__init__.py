"""Entity and relation scores, and the test of a difference between two systems.

The folders `entity_score` and `relation_score` load with `evaluate.load(path)`, also without a network.
"""
