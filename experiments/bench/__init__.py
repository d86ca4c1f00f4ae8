"""What a transformed step costs, in copies of the gradient, beside the bare step and others."""
