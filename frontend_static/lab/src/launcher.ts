/** Launcher cards: one for each server, those for the page and the inspector, and the first steps where there is no server. */

import type { ILauncher } from '@jupyterlab/launcher';
import type { IDisposable } from '@lumino/disposable';

import { CommandIds } from './commands';
import type { Gateway } from './gateway';
import { ADD, ADD_DEMO, SERVERS } from './panel';
import type { Preferences } from './settings';

const CATEGORY = 'MCP';
const AFTER_SERVERS = 1000;

/** Keep the cards in step with the configured servers and the settings. */
export function addCards(launcher: ILauncher, gateway: Gateway, preferences: Preferences, inspector: () => boolean): void {
  let shown = '';
  let cards: IDisposable[] = [];
  const update = (): void => {
    const wanted = preferences.launcherCards ? wantedCards(gateway, inspector()) : [];
    const text = JSON.stringify(wanted);
    if (text === shown) {
      return; // the launcher rerenders at every change
    }
    shown = text;
    cards.forEach(card => card.dispose());
    cards = wanted.map(card => launcher.add(card));
  };
  gateway.changed.connect(update);
  preferences.changed.connect(update);
  update();
}

function wantedCards(gateway: Gateway, inspector: boolean): ILauncher.IItemOptions[] {
  if (gateway.reach === 'absent' || gateway.reach === 'unknown') {
    return [];
  }
  const servers = gateway.servers.map(({ name }, rank) => ({
    command: CommandIds.open,
    args: { server: name, card: true },
    category: CATEGORY,
    rank
  }));
  const others = [
    { command: CommandIds.open, args: { card: true, route: SERVERS }, category: CATEGORY, rank: AFTER_SERVERS },
    ...(servers.length === 0 ? [ADD, ADD_DEMO].map((route, at) => ({ command: CommandIds.open, args: { card: true, route }, category: CATEGORY, rank: AFTER_SERVERS + 1 + at })) : [])
  ];
  const last = { command: CommandIds.inspect, args: { card: true }, category: CATEGORY, rank: AFTER_SERVERS + 9 };
  return inspector ? [...servers, ...others, last] : [...servers, ...others];
}
