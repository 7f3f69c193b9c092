"""Tables and figures of Manifold Mixup."""
