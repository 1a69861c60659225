"""Are lips and sound in step? Three ways to ask, all in signed milliseconds, positive = early."""
