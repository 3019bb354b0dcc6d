"""The shipped models: ONNX graphs, their checkpoints, cards and ``manifest.json``."""
