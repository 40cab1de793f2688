"""New training posts from old ones: another style, another entity, an imagined picture."""
