"""Where networks run, and in how much memory."""
