"""The routes with which clients sign in by URL: metadata, the page that asks the user, and the token endpoint."""
