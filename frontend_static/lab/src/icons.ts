/** The icons of the extension; creating them registers them. */

import { LabIcon } from '@jupyterlab/ui-components';

import inspector from '../style/icons/inspector.svg';
import server from '../style/icons/server.svg';

export const serverIcon = new LabIcon({ name: 'mcp-ws-ide:server', svgstr: server });
export const inspectorIcon = new LabIcon({ name: 'mcp-ws-ide:inspector', svgstr: inspector });

/** Backgrounds of the icons of servers; white text on each has a contrast of at least 4.5. */
const COLOURS = ['#0a5ea8', '#17682f', '#8a3a00', '#7a3e9d', '#b3261e', '#00697a', '#5b5f00', '#a0245e'];

const icons = new Map<string, LabIcon>();

/** The icon of one server: its initials, in a colour that depends on its name. */
export function iconOf(name: string): LabIcon {
  const known = icons.get(name);
  if (known !== undefined) {
    return known;
  }
  const svgstr = drawing(initialsOf(name), COLOURS[sumOf(name) % COLOURS.length] ?? '');
  const made = new LabIcon({ name: `mcp-ws-ide:server-${encodeURIComponent(name)}`, svgstr });
  icons.set(name, made);
  return made;
}

/** One or two letters or digits that stand for a name: `git-hub` is GH, `time` is TI. */
export function initialsOf(name: string): string {
  const words = name.match(/[\p{L}\p{N}]+/gu) ?? [];
  const [first = '?', second] = words;
  const letters = second === undefined ? [...first].slice(0, 2) : [[...first][0], [...second][0]];
  return letters.join('').toUpperCase();
}

/** Letters and digits only, so that nothing of a name is markup. */
function drawing(initials: string, colour: string): string {
  return (
    '<svg xmlns="http://www.w3.org/2000/svg" width="16" height="16" viewBox="0 0 24 24">' +
    `<rect x="1" y="1" width="22" height="22" rx="5" fill="${colour}"/>` +
    '<text x="12" y="16.2" text-anchor="middle" font-family="sans-serif" font-size="11.5" font-weight="600" ' +
    `fill="#ffffff">${initials}</text></svg>`
  );
}

function sumOf(name: string): number {
  return [...name].reduce((sum, letter) => (31 * sum + (letter.codePointAt(0) ?? 0)) % 65_521, 7);
}
