"""Object detection: the ResNets as backbones."""
