"""Make the models: networks, distillation, ONNX export. Needs the extra ``export``."""
