"""Stands where jsonschema looks for a checker of IRIs, for the Jupyter servers that tests start: the real one compiles
a grammar at import, for two of the three seconds that a start takes, and nothing of ours checks an IRI."""

if __name__ == "rfc3987_syntax":  # as jsonschema imports it, and not as a module of the tests
    raise ImportError("left out, to start Jupyter sooner")
