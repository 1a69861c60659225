"""Files to clips and back; `encode` and `decode` alone know FFmpeg (through PyAV)."""
