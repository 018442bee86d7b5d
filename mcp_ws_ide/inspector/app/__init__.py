"""The full-screen inspector, on Textual. Decides how things look; what is true is decided in ``model``."""
