"""Using a trained model on many posts: reading, predicting, resuming, and running it in ONNX Runtime."""
