"""Made-up customers and a model for who will leave: the classic layout, and a load of any size."""
