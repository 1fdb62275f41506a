"""Changes to a trained network: compression, distillation, and weights handed to another network."""
