"""A page in the browser to try a trained model by hand."""
