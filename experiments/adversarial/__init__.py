"""How a network is trained against attacks."""
