"""What trains when and where: pure decisions, and the dispatcher that obeys them."""
