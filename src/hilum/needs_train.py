"""Imported first by every module that trains: raises with the remedy if its packages are not installed."""

from hilum.extras import needs

needs("training", "train", "torch", "timm", "lightning_fabric", "onnx", "safetensors")
