"""The full-screen inspector, built on Textual. Decides how traffic is shown; ``model`` decides what it means."""
