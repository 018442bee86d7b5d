"""The blocking face of the client, for notebooks and scripts: calls are functions, and results show themselves."""
