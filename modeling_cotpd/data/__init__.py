"""Posts as records: schema, readers of the published formats, views, hygiene checks."""
