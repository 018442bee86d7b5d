"""``{base_url}mcp-ws/api/…``: the REST API of the page, the inspector and operators, one module per audience."""
