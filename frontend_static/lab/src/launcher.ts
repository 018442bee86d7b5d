/**
 * Launcher cards: those for the list of servers and the inspector, one for each server, and the first steps where there is
 * no server. The list comes first, because the launcher takes the icon of the section's heading from its first card.
 */

import type { ILauncher } from '@jupyterlab/launcher';
import type { IDisposable } from '@lumino/disposable';

import { CommandIds } from './commands';
import type { Gateway } from './gateway';
import { ADD, ADD_DEMO, SERVERS } from './panel';
import type { Preferences } from './settings';

const CATEGORY = 'MCP';
const AFTER_LIST = 1;
const INSPECTOR = 1000;

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
  const card = (command: string, args: Record<string, string>, rank: number): ILauncher.IItemOptions => ({
    command,
    args: { card: true, ...args },
    category: CATEGORY,
    rank
  });
  const servers = gateway.servers.map(({ name }, at) => card(CommandIds.open, { server: name }, AFTER_LIST + at));
  const steps = [ADD, ADD_DEMO].map((route, at) => card(CommandIds.open, { route }, AFTER_LIST + at));
  return [
    card(CommandIds.open, { route: SERVERS }, 0),
    ...(servers.length === 0 ? steps : servers),
    ...(inspector ? [card(CommandIds.inspect, {}, INSPECTOR)] : [])
  ];
}
