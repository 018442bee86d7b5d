/**
 * The inspector in a JupyterLab terminal.
 *
 * The extension passes no credential: Jupyter's terminals carry the server's address in `JUPYTER_SERVER_URL`, and the
 * inspector, which runs as the same user, reads the token from `JUPYTER_TOKEN`, `JUPYTERHUB_API_TOKEN` or Jupyter's
 * own record of its running servers.
 */

import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { MainAreaWidget } from '@jupyterlab/apputils';
import { PageConfig } from '@jupyterlab/coreutils';
import type { ITerminal } from '@jupyterlab/terminal';

const CREATE = 'terminal:create-new';

/** Whether this application has terminals, and this server allows them. */
export function hasTerminals(app: JupyterFrontEnd): boolean {
  return app.commands.hasCommand(CREATE) && app.serviceManager.terminals.isAvailable();
}

/** A program that a shell of Windows is typed into, where variables are set in another way. */
const OF_WINDOWS = /\\|\.exe\b/i;

/**
 * The command to type: the user's setting, else the program of the Jupyter server's environment, which is light in a
 * light JupyterLab.
 */
export function inspectorCommand(chosen: string, dark: boolean): string {
  if (chosen.trim()) {
    return chosen.trim();
  }
  const program = PageConfig.getOption('mcpWsInspect') || 'mcp-ws-inspect';
  return dark || OF_WINDOWS.test(program) ? program : `TEXTUAL_THEME=textual-light ${program}`;
}

/** Open a terminal and type the command into it. */
export async function openInspector(app: JupyterFrontEnd, command: string): Promise<MainAreaWidget | undefined> {
  const terminal = (await app.commands.execute(CREATE)) as MainAreaWidget<ITerminal.ITerminal> | undefined;
  terminal?.content.session.send({ type: 'stdin', content: [`${command}\r`] });
  return terminal;
}
