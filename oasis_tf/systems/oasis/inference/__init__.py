"""The networks for use after training: folded weights, and shared work."""
