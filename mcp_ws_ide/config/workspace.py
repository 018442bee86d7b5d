"""Variables of editors, such as ``${workspaceFolder}``, in entries copied from them, and what each means here.

Owns which folder is the workspace. Knows nothing of entries, and does not look at the file system.
"""

from __future__ import annotations

import os
from pathlib import PurePath
from typing import Final

EDITOR_FOLDERS: Final = frozenset(
    {".vscode", ".vs", ".cursor", ".windsurf", ".kiro", ".roo", ".zed", ".trae", ".idea", ".junie", ".amazonq",
     ".continue", ".gemini", ".qwen", ".codex", ".claude"}
)  # fmt: skip
"""Names of the folders in a project in which editors and agents keep its settings."""
PLUGIN_FOLDERS: Final = frozenset({".claude-plugin", ".cursor-plugin", ".codex-plugin"})
"""Names of the folders in a plugin that hold only its description."""
WORKSPACE_VARIABLES: Final = ("workspaceFolder", "workspacePath", "CLAUDE_PROJECT_DIR")
"""Variables that mean the workspace: of VS Code and others, of Gemini CLI's extensions, of Claude Code."""
FOLDER_VARIABLES: Final = ("__dirname", "extensionPath", "CLAUDE_PLUGIN_ROOT", "PLUGIN_ROOT")
"""Variables that mean the folder of the file: of bundles (MCPB), of Gemini CLI's extensions, of plugins."""


def workspace_of(source: str, root_dir: str) -> str:
    """Return the absolute path of the folder that ``${workspaceFolder}`` means in the entries of a source.

    That is the project, for a file in its editor's folder (``project/.vscode/mcp.json``), also further down
    (``project/.kiro/settings/mcp.json``). For any other source it is ``root_dir``, also for a file in such a folder of
    the home directory, which is the user's own and of no project.

    Args:
        source: path of a file, or the name of a trait or an entry point.
        root_dir: what Jupyter serves (``ServerApp.root_dir``); ``""`` if there is none.
    """
    home = PurePath(os.path.expanduser("~"))
    path = PurePath(os.path.normpath(os.path.expanduser(source)))
    folder = next((parent for parent in path.parents if parent.name in EDITOR_FOLDERS), None)
    if folder is None or not folder.is_absolute() or folder.parent == home:
        return root_dir
    return str(folder.parent)


def editor_variables(workspace: str, source: str = "") -> dict[str, str]:
    """Return the variables of editors that have one value here, by what stands between their braces.

    Args:
        workspace: path of the workspace; ``""`` if there is none, and then its variables have no value.
        source: path of the file that contains them, or the name of a trait or an entry point.
    """
    variables = {"userHome": os.path.expanduser("~"), "pathSeparator": os.sep, "/": os.sep}
    if workspace:
        variables |= dict.fromkeys(WORKSPACE_VARIABLES, workspace)
        variables["workspaceFolderBasename"] = os.path.basename(os.path.normpath(workspace))
    path = PurePath(os.path.normpath(os.path.expanduser(source)))
    if path.is_absolute():
        folder = path.parent.parent if path.parent.name in PLUGIN_FOLDERS else path.parent
        variables |= dict.fromkeys(FOLDER_VARIABLES, str(folder))
    return variables
