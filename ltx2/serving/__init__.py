"""Jobs that outlive the browser tab that asked for them."""
