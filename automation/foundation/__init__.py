"""Foundation: the people of the platform, and how they are told something."""
