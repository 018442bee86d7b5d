"""The keys of other programs' entries, as data: their names here, and what to write instead of those without any.

Knows nothing of values and shapes (:mod:`.dialects`) or of files (:mod:`.file_sections`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple


class Notice(NamedTuple):
    """Something in an entry that is ignored, or read in another way than it is written."""

    key: str
    reason: str


OWN_KEYS: Final = frozenset(
    {"command", "args", "env", "env_vars", "cwd", "url", "headers", "type", "transport", "python", "group", "mcp_ws",
     "name", "disabled", "enabled"}
)  # fmt: skip
"""Keys of an entry that mean something here."""
WAYS: Final = ("command", "url", "python", "group")
"""Keys that say how a server is reached, one in each entry."""
WITHOUT_MEANING: Final = frozenset(
    {"description", "displayName", "display_name", "title", "icon", "iconPath", "icons", "logoUrl", "provider", "tags",
     "version", "gallery", "source", "bundled", "registryUrl", "installSource", "chatMenu", "longRunning", "timeout",
     "alwaysAllow", "autoApprove", "trust", "dev", "required", "default_tools_approval_mode",
     "available_tools_approval", "extensionName", "id", "$schema", "serverInstructions", "fromGalleryId", "official",
     "alwaysLoad", "timeoutMs", "timeout_ms", "timeout_seconds", "timeoutSeconds", "include_instructions",
     "cache_tools_list", "server_label", "require_approval", "remote",
     "stderr"}
)  # fmt: skip
"""Keys that describe a server, or tell another program what to ask its user: ignored silently."""
_OTHER_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "command": ("cmd", "program", "executable"),  # Goose
    "args": ("arguments",),
    "url": (
        "httpUrl", "serverUrl", "uri",  # Gemini CLI and Qwen Code; Windsurf and Antigravity; Goose
        "baseUrl", "endpointUrl", "sseEndpoint", "server_url", "endpoint",  # Cherry Studio; n8n; OpenAI's API
    ),
    "env": (
        "environment", "envs", "envVars",  # opencode; Goose
        "env_variables", "environmentVariables", "environment_variables",
    ),
    "env_vars": ("env_keys",),  # Goose: names of variables, whose values it keeps itself
    "headers": ("http_headers", "httpHeaders", "customHeaders"),  # Codex; DeepChat
    "cwd": ("workingDirectory", "working_directory", "working_dir", "workdir", "directory"),  # JetBrains; Warp
    "type": ("transportType", "transport_type", "serverTransport"),  # Cline; n8n
    "enabled": ("isActive", "active"),  # Cherry Studio; Jan
    "disabled": ("disable",),  # DeepChat
}  # fmt: skip
ALIASES: Final[Mapping[str, str]] = {name: own for own, names in _OTHER_NAMES.items() for name in names}
"""Keys of other programs, and the key that means the same here."""
NESTED: Final[Mapping[str, str]] = {
    "transport": "",  # Continue before 2025
    "config": "",  # Goose before 1.0
    "params": "",  # OpenAI's Agents SDK
    "stdio": "stdio",  # agentgateway
    "sse": "sse",
    "http": "http",
    "streamable_http": "http",
    "streamableHttp": "http",
    "streamable-http": "http",
    "websocket": "ws",
}
"""Keys whose object is the entry, or its part that says how a server is reached, and the type that each implies."""
REQUEST_OPTIONS: Final = ("requestOptions", "requestInit", "options")
"""Keys whose object has the headers of each request (Continue, Mastra, the TypeScript SDK's options)."""
IMPLIED_TYPES: Final[Mapping[str, str]] = {"httpUrl": "http", "sseEndpoint": "sse"}
"""Keys that also say how a server is reached."""
ALLOWED_TOOLS: Final = (
    "includeTools", "enabled_tools", "enabledTools", "available_tools", "tools", "allowed_tools", "allowedTools",
)  # fmt: skip
"""Keys whose list names the only tools that may be used (Gemini CLI, Codex, Goose, Copilot, OpenAI's API, mcporter,
Deep Agents)."""
DENIED_TOOLS: Final = ("excludeTools", "disabled_tools", "disabledTools", "blockedTools")
"""Keys whose list names tools that may not be used (Gemini CLI, Codex, Windsurf, Roo Code, Kiro, mcporter)."""
BEARERS: Final = (
    ("bearer_token_env_var", "Bearer ${env:%s}"),  # Codex
    ("bearerTokenEnvVar", "Bearer ${env:%s}"),
    ("bearerTokenEnv", "Bearer ${env:%s}"),  # mcporter
    ("bearer_token", "Bearer %s"),
    ("bearerToken", "Bearer %s"),
    ("authorization_token", "Bearer %s"),  # Anthropic's API
    ("auth_token", "Bearer %s"),
    ("access_token", "Bearer %s"),  # fast-agent
    ("authToken", "Bearer %s"),
)
"""Keys that hold a credential, and the header that carries it."""
HEADER_VARIABLES: Final = ("env_http_headers", "envHttpHeaders", "envHeaders")
"""Keys whose object has, for each header, the name of the variable that holds its value (Codex)."""
OWN_SETTINGS: Final[Mapping[str, tuple[type, ...]]] = {
    "sharing": (str,),
    "bridge": (bool,),
    "authorize": (str, list),
    "ca_file": (str,),
    "prewarm": (int,),
    "idle_timeout": (int, float),
    "max_message_bytes": (int,),
    "reconnect_timeout": (int, float),
}
"""Keys that belong under ``mcp_ws`` and mean the same beside it, with the types of their values. Other programs have
``connect_timeout`` and ``read_timeout``, too, for themselves."""
_SECONDS: Final = 'write "mcp_ws": {"%s": SECONDS} for a remote server'
_OAUTH: Final = 'ignored; for OAuth write "mcp_ws": {"oauth": true}, for a fixed credential "headers"'
_OWN_SETTING: Final = 'ignored here; write it under "mcp_ws"'
INSTEAD: Final[Mapping[str, str]] = {
    "envFile": 'not supported, ignored; put the variables under "env", or list their names under "env_vars"',
    "env_file": 'not supported, ignored; put the variables under "env", or list their names under "env_vars"',
    **dict.fromkeys(
        ("oauth", "auth", "authentication", "authProviderType", "authorization", "scopes", "oauthScopes",
         "oauth_resource", "requiresOAuth", "targetAudience", "targetServiceAccount"),
        _OAUTH,
    ),
    **dict.fromkeys(("apiKey", "api_key"), 'ignored; write the header that the server expects under "headers"'),
    **dict.fromkeys(("queryParams", "query"), 'ignored; write them at the end of "url"'),
    **dict.fromkeys(
        ("verifySsl", "verify_ssl", "verify", "caBundlePath"),
        'ignored; for a certificate of your own write "mcp_ws": {"ca_file": PATH}',
    ),
    "image": 'ignored; write "command": "docker", "args": ["run", "-i", "--rm", IMAGE]',
    "customUserVars": "ignored, because the gateway cannot ask; use ${env:NAME}",
    "roots": "ignored; clients name their roots themselves",
    "anythingllm": 'belongs to AnythingLLM, ignored; write "disabled", or "mcp_ws": {"tools": {"deny": [NAME]}}',
    "headersHelper": 'not supported, ignored; write "headers", with variables for what changes',
    **dict.fromkeys(
        ("startup_timeout_sec", "startup_timeout_ms", "startupTimeout", "connectionTimeout", "initTimeout",
         "init_timeout", "connect_timeout", "startupTimeoutSec", "startup_timeout"),
        f"ignored; {_SECONDS % 'connect_timeout'}",
    ),
    **dict.fromkeys(
        ("tool_timeout_sec", "tool_timeout", "toolTimeout", "toolTimeoutSec", "networkTimeout", "requestTimeout",
         "request_timeout", "sse_read_timeout", "sseReadTimeout", "read_timeout", "read_timeout_seconds",
         "http_timeout_seconds", "client_session_timeout_seconds"),
        f"ignored; {_SECONDS % 'read_timeout'}",
    ),
    **dict.fromkeys((*OWN_SETTINGS, "prefix"), _OWN_SETTING),
    **dict.fromkeys(
        ("start_on_launch", "autoStart", "auto_start", "load_on_start"), 'ignored; write "mcp_ws": {"prewarm": 1}'
    ),
    **dict.fromkeys(
        ("sandbox", "sandboxEnabled", "permissions", "permissionProfile"),
        "not supported, ignored; the program runs with all rights of the user",
    ),
    **dict.fromkeys(
        ("watch", "watchPaths", "restart", "keep_alive", "restartOnChange"),
        "not supported, ignored; restart a server on the gateway's page",
    ),
    "target": 'ignored; write its address under "url", or its program under "command" and "args"',
    "shell": "not supported, ignored; no program is run by a shell",
    "settings": "belongs to an extension of Zed, ignored",
    "inputs": "ignored, because the gateway cannot ask; use ${env:NAME}",
    "http_proxy": 'ignored; write it under "env"',
}  # fmt: skip
"""Keys of other programs that have another form here, or none, and what to do instead."""
