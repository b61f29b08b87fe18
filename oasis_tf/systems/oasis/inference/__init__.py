"""The networks as they are used: folded weights and shared work."""
