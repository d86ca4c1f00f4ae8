"""What is optimised, and how it is judged."""
