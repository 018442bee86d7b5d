/**
 * What JupyterLab knows about the gateway: its servers and the user's sessions, polled while the window is visible.
 * Every part of the extension reads this model; none polls on its own.
 */

import { Poll } from '@lumino/polling';
import { Token } from '@lumino/coreutils';
import { type ISignal, Signal } from '@lumino/signaling';

import type { Api, GatewayError, Server, Session } from './api';

/**
 * Whether the gateway answers: `unknown` before the first answer, `absent` if the Jupyter server has no gateway,
 * `refused` if the user is no longer logged in or lacks permission.
 */
export type Reach = 'unknown' | 'reachable' | 'unreachable' | 'refused' | 'absent';

export const IGateway = new Token<Gateway>('mcp-ws-ide:IGateway', 'Servers and sessions of the MCP gateway.');

/** Longest poll interval in seconds while the gateway cannot be reached. */
const MAX_SECONDS = 60;

export class Gateway {
  constructor(
    readonly api: Api,
    seconds: number
  ) {
    this.poll = new Poll({
      name: 'mcp-ws-ide:gateway',
      factory: () => this.update(),
      frequency: frequency(seconds),
      standby: 'when-hidden'
    });
  }

  servers: readonly Server[] = [];
  sessions: readonly Session[] = [];
  reach: Reach = 'unknown';
  /** Why the gateway cannot be reached; empty if it can. */
  problem = '';

  /** Emitted when the model has changed. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** The poll interval in seconds; longer while the gateway cannot be reached. */
  set interval(seconds: number) {
    this.poll.frequency = frequency(seconds);
  }

  /** Poll now, and wait for the answer. */
  async refresh(): Promise<void> {
    await this.poll.refresh();
    await this.poll.tick;
  }

  /** Throws unless the gateway answers. If it did not the last time, it is polled again, also while hidden. */
  async reached(): Promise<void> {
    if (this.reach !== 'reachable') {
      await this.update();
    }
  }

  async endSession(id: string): Promise<void> {
    try {
      await this.api.endSession(id);
    } finally {
      await this.refresh();
    }
  }

  /** End all of the user's current sessions, not only those known to this model. */
  async endAll(): Promise<number> {
    try {
      const sessions = await this.api.sessions();
      const ends = await Promise.allSettled(sessions.map(session => this.api.endSession(session.id)));
      const failed = ends.find(end => end.status === 'rejected' && end.reason.status !== 404);
      if (failed?.status === 'rejected') {
        throw failed.reason;
      }
      return sessions.length;
    } finally {
      await this.refresh();
    }
  }

  /** Restart a server; returns how many of its processes, or connections to a remote server, were ended. */
  async restart(server: string): Promise<number> {
    try {
      return await this.api.restart(server);
    } finally {
      await this.refresh();
    }
  }

  private async update(): Promise<void> {
    try {
      const [servers, sessions] = await Promise.all([this.api.servers(), this.api.sessions()]);
      this.set({ servers, sessions, reach: 'reachable', problem: '' });
    } catch (error) {
      const { status, message } = error as GatewayError;
      const reach = status === 404 ? 'absent' : status === 401 || status === 403 ? 'refused' : 'unreachable';
      this.set({ servers: reach === 'absent' ? [] : this.servers, sessions: [], reach, problem: message });
      throw error; // makes the poll back off
    }
  }

  private set(seen: Pick<Gateway, 'servers' | 'sessions' | 'reach' | 'problem'>): void {
    const text = JSON.stringify(seen);
    if (text !== this.shown) {
      this.shown = text;
      Object.assign(this, seen);
      this._changed.emit();
    }
  }

  private readonly poll: Poll;
  private readonly _changed = new Signal<this, void>(this);
  private shown = '';
}

function frequency(seconds: number): { interval: number; backoff: boolean; max: number } {
  return { interval: seconds * 1000, backoff: true, max: Math.max(seconds, MAX_SECONDS) * 1000 };
}

/** The client of a session, in a word or two. */
export function clientOf(session: Session, browser: string): string {
  return session.user_agent.startsWith('Mozilla/') ? browser : session.user_agent.split(' ')[0] || session.link;
}
