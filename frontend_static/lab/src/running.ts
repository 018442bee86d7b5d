/** MCP sessions in the running panel. */

import type { IRunningSessions } from '@jupyterlab/running';
import type { TranslationBundle } from '@jupyterlab/translation';
import { Signal } from '@lumino/signaling';

import type { Session } from './api';
import { clientOf, type Gateway } from './gateway';
import { serverIcon } from './icons';

/** The actions of the panel; they notify the user of failures. */
export interface Actions {
  open(server: string): void;
  end(session: Session): void;
  endAll(): void;
}

export class RunningMcpSessions implements IRunningSessions.IManager {
  constructor(
    private readonly gateway: Gateway,
    private readonly trans: TranslationBundle,
    private readonly actions: Actions
  ) {
    this.name = trans.__('MCP sessions');
    this.shutdownLabel = trans.__('End session');
    this.shutdownAllLabel = trans.__('End All');
    this.shutdownAllConfirmationText = trans.__(
      'End all your MCP sessions? Their clients are disconnected, and open requests are cancelled.'
    );
    gateway.changed.connect(() => this.runningChanged.emit());
  }

  readonly name: string;
  readonly shutdownLabel: string;
  readonly shutdownAllLabel: string;
  readonly shutdownAllConfirmationText: string;
  readonly runningChanged = new Signal<this, void>(this);

  running(): IRunningSessions.IRunningItem[] {
    return this.gateway.sessions.map(session => ({
      icon: () => serverIcon,
      label: () => [this.brief(session), session.server, clientOf(session, this.trans.__('browser'))].join(' · '),
      labelTitle: () => this.details(session),
      context: session.id,
      className: session.attached ? 'mcp-Running' : 'mcp-Running mcp-mod-waiting',
      open: () => this.actions.open(session.server),
      shutdown: () => this.actions.end(session)
    }));
  }

  refreshRunning(): void {
    void this.gateway.refresh();
  }

  shutdownAll(): void {
    this.actions.endAll();
  }

  /** The state in one word; it comes first because the panel is narrow and truncates labels. */
  private brief(session: Session): string {
    return session.attached ? this.trans.__('attached') : this.trans.__('detached');
  }

  private state(session: Session): string {
    return session.attached ? this.trans.__('attached') : this.trans.__('detached, waiting for its client');
  }

  private details(session: Session): string {
    const { trans } = this;
    return [
      trans.__('Server: %1', session.server),
      trans.__('Client: %1', session.user_agent || trans.__('unknown')),
      trans.__('State: %1', this.state(session)),
      trans.__('Link: %1, era: %2', session.link, session.era),
      trans.__('Open requests: %1', String(session.in_flight)),
      trans.__('Session: %1', session.id)
    ].join('\n');
  }
}
