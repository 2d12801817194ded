"""Imported first by every module that trains: where its packages are not installed, it tells the remedy."""

from hilum.extras import needs

needs("training", "train", "torch", "timm", "lightning_fabric", "onnx", "safetensors")
