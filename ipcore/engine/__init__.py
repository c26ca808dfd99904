"""What trains K networks at once."""
