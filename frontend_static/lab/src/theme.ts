/** Passes JupyterLab's theme to the page in a panel. */

import type { IThemeManager } from '@jupyterlab/apputils';

const GRADES = (name: string, grades: number[]): string[] => grades.map(grade => `--jp-${name}${grade}`);

/** The CSS variables that the page adopts: colours and fonts. */
export const VARIABLES = [
  ...GRADES('layout-color', [0, 1, 2, 3, 4]),
  ...GRADES('inverse-layout-color', [0, 1, 2, 3]),
  ...GRADES('border-color', [0, 1, 2, 3]),
  ...GRADES('ui-font-color', [0, 1, 2, 3]),
  ...GRADES('ui-inverse-font-color', [0, 1]),
  ...GRADES('content-font-color', [0, 1, 2, 3]),
  ...GRADES('brand-color', [0, 1, 2, 3]),
  ...GRADES('accent-color', [0, 1, 2, 3]),
  ...GRADES('warn-color', [0, 1, 2, 3]),
  ...GRADES('error-color', [0, 1, 2, 3]),
  ...GRADES('success-color', [0, 1, 2, 3]),
  ...GRADES('info-color', [0, 1, 2, 3]),
  ...GRADES('ui-font-size', [0, 1, 2, 3]),
  '--jp-ui-font-family',
  '--jp-code-font-family',
  '--jp-code-font-size',
  '--jp-content-font-family',
  '--jp-content-link-color',
  '--jp-border-radius',
  '--jp-input-background',
  '--jp-input-active-background',
  '--jp-input-border-color'
];

/** The message to the page. */
export interface ThemeMessage {
  readonly type: 'mcp-ws-theme';
  readonly dark: boolean;
  readonly variables: Record<string, string>;
}

export function themeMessage(themes: IThemeManager | null): ThemeMessage {
  const style = getComputedStyle(document.body);
  const values = VARIABLES.map(name => [name, style.getPropertyValue(name).trim()] as const);
  return {
    type: 'mcp-ws-theme',
    dark: isDark(themes),
    variables: Object.fromEntries(values.filter(([, value]) => value !== ''))
  };
}

/** Whether JupyterLab has a dark theme. */
export function isDark(themes: IThemeManager | null): boolean {
  const theme = themes?.theme;
  return theme ? !themes.isLight(theme) : document.body.dataset['jpThemeLight'] === 'false';
}
