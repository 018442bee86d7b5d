"""Serve ``objects.py`` over the HTTP of whichever SDK is installed: ``python over_http.py http|sse PORT``."""

import sys

import uvicorn

sys.path.insert(0, __file__.rpartition("/")[0])
from objects import server

app = server.streamable_http_app() if sys.argv[1] == "http" else server.sse_app()
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", timeout_keep_alive=3600)
