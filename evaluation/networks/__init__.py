"""Networks that measurements need and that are ours: torch in, torch out."""
