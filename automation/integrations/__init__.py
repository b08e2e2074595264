"""Systems outside that steps may call: what is known of each, and where their credentials lie."""
