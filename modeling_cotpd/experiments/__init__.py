"""From a sweep (YAML) to runs, and from runs to tables, figures and case studies."""
