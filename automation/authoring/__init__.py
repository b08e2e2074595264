"""Writing workflows and triggers: what people post is brought into one shape, checked as a whole, and stored."""
