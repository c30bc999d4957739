"""What things cost, measured on real rows."""
