"""The generated applications: Studio's page document, how two differ, and the static site made of them."""
