"""What can be known about a prompt before a clip is made of it: dialogue, hints, enhancement."""
