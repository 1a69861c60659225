"""What can be measured on a clip; one question per module."""
