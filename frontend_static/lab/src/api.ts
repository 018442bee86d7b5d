/**
 * The part of the gateway's REST API that JupyterLab needs. `ServerConnection` supplies credential, XSRF token and base
 * URL. Knows nothing of widgets and keeps no state.
 */

import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

/** A configured server; `GET api/servers`. */
export interface Server {
  readonly name: string;
  readonly state: 'idle' | 'running' | 'failed' | 'stopped' | 'disabled';
  /** Why it cannot be used, or how it last exited; empty otherwise. */
  readonly reason: string;
  readonly sessions: number;
}

/** A live session of the user; `GET api/sessions`. */
export interface Session {
  readonly id: string;
  readonly server: string;
  readonly era: string;
  readonly link: string;
  /** False while the session is detached: its client may resume it. */
  readonly attached: boolean;
  readonly user_agent: string;
  readonly in_flight: number;
}

/** Programs for which `POST api/servers/{name}/entry` returns an entry. */
export const IDES = ['claude', 'cursor', 'jupyter-ai', 'notebook-intelligence', 'vscode', 'vscode-command'] as const;
export type Ide = (typeof IDES)[number];

/** The gateway refused a request or cannot be reached; `message` is for the user. `status` is 0 without an answer. */
export class GatewayError extends Error {
  constructor(
    message: string,
    readonly status: number
  ) {
    super(message);
  }
}

export class Api {
  constructor(readonly settings: ServerConnection.ISettings) {}

  /** The URL of a path below `{base_url}mcp-ws/`. */
  url(...path: string[]): string {
    return URLExt.join(this.settings.baseUrl, 'mcp-ws', ...path.map(encodeURIComponent));
  }

  /** The URL of the page, by default in the form for a panel. `route` starts with `#`. */
  pageUrl(route: string, embedded = true): string {
    return `${this.url()}/${embedded ? '?embed=lab' : ''}${route}`;
  }

  /** The URL that MCP clients connect to: `ws://…` or `wss://…`. */
  endpointUrl(server: string): string {
    return this.url('servers', server).replace(/^http/, 'ws');
  }

  async servers(): Promise<Server[]> {
    return (await this.ask<{ servers: Server[] }>('GET', ['servers'])).servers;
  }

  async sessions(): Promise<Session[]> {
    return (await this.ask<{ sessions: Session[] }>('GET', ['sessions'])).sessions;
  }

  async endSession(id: string): Promise<void> {
    await this.ask('DELETE', ['sessions', id]);
  }

  /** Restart a server; returns how many of its processes, or connections to a remote server, were ended. */
  async restart(server: string): Promise<number> {
    return (await this.ask<{ ended: number }>('POST', ['servers', server, 'restart'], {})).ended;
  }

  /** A configuration entry for another program; with `token`, it contains a new gateway token. */
  async entry(server: string, ide: Ide, token: boolean): Promise<unknown> {
    return this.ask('POST', ['servers', server, 'entry'], { ide, token });
  }

  private async ask<T>(method: string, path: string[], body?: unknown): Promise<T> {
    const request: RequestInit = { method, ...(body === undefined ? {} : { body: JSON.stringify(body) }) };
    let response: Response;
    try {
      response = await ServerConnection.makeRequest(this.url('api', ...path), request, this.settings);
    } catch (error) {
      throw new GatewayError(error instanceof Error ? error.message : String(error), 0);
    }
    const text = await response.text();
    if (!response.ok) {
      throw new GatewayError(reasonIn(text) || `${response.status} ${response.statusText}`, response.status);
    }
    return (text ? JSON.parse(text) : undefined) as T;
  }
}

/** The reason in the body of a refusal; empty without one. */
function reasonIn(text: string): string {
  try {
    const { message, reason } = JSON.parse(text);
    return String(message || reason || '');
  } catch {
    return '';
  }
}
