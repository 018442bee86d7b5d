/**
 * The page as a panel of JupyterLab. The panel supplies theme and title, and restores the route after a reload;
 * everything else is up to the page.
 */

import { type IThemeManager, MainAreaWidget } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { IFrame } from '@jupyterlab/ui-components';
import { Signal } from '@lumino/signaling';

import type { Api } from './api';
import { iconOf, serverIcon } from './icons';
import { themeMessage } from './theme';

/** Routes of the page: all servers, an empty form for a new one, and that of the demo server. */
export const SERVERS = '#/servers';
export const ADD = '#/servers?add=1';
export const ADD_DEMO = '#/servers?add=demo';

/** The route of a server's view; without a server, of the overview. */
export function routeOf(server?: string): string {
  return server === undefined ? SERVERS : `#/server/${encodeURIComponent(server)}`;
}

/** The server that a route shows; undefined for other routes. */
export function serverIn(route: string): string | undefined {
  const match = /^#\/server\/([^/?]+)/.exec(route);
  return match?.[1] === undefined ? undefined : decodeURIComponent(match[1]);
}

class Page extends IFrame {
  constructor(
    private readonly options: PagePanel.IOptions,
    public route: string
  ) {
    super();
    this.addClass('mcp-Panel');
    // Same origin: a sandbox that lets the page run would restrict nothing. The page's CSP is strict.
    this.frame.removeAttribute('sandbox');
    this.frame.title = options.trans.__('MCP');
    this.frame.name = options.key; // the page finds its sessions under this name
    this.frame.addEventListener('load', this.loaded);
    window.addEventListener('message', this.follow);
    options.themes?.themeChanged.connect(this.sendTheme, this);
    this.url = options.api.pageUrl(route);
  }

  readonly moved = new Signal<this, void>(this);

  override dispose(): void {
    window.removeEventListener('message', this.follow);
    Signal.clearData(this);
    super.dispose();
  }

  private get frame(): HTMLIFrameElement {
    return this.node.querySelector('iframe') as HTMLIFrameElement;
  }

  private readonly loaded = (): void => {
    this.sendTheme();
    this.frame.contentWindow?.addEventListener('pointerdown', this.touched);
  };

  private sendTheme(): void {
    this.frame.contentWindow?.postMessage(themeMessage(this.options.themes), location.origin);
  }

  /** Remember the route that the page reports. */
  private readonly follow = ({ origin, source, data }: MessageEvent): void => {
    if (origin !== location.origin || source !== this.frame.contentWindow || data?.type !== 'mcp-ws-route') {
      return;
    }
    const { route } = data;
    if (typeof route === 'string' && route.startsWith('#/') && route !== this.route) {
      this.route = route;
      this.moved.emit();
    }
  };

  /** Lumino does not see clicks inside a frame and would consider another panel current. */
  private readonly touched = (): void => {
    this.node.dispatchEvent(new FocusEvent('focus'));
  };
}

export class PagePanel extends MainAreaWidget<Page> {
  constructor(options: PagePanel.IOptions) {
    super({ content: new Page(options, options.route) });
    this.trans = options.trans;
    this.key = options.key;
    this.id = `mcp-ws-ide-${options.key}`;
    this.toolbar.hide();
    this.title.closable = true;
    this.content.moved.connect(this.label, this);
    this.label();
  }

  /** Identifies this panel, also after a reload; unlike the route, it never changes. */
  readonly key: string;

  /** The page's route: `#/…`. */
  get route(): string {
    return this.content.route;
  }

  get server(): string | undefined {
    return serverIn(this.route);
  }

  get moved(): Signal<Page, void> {
    return this.content.moved;
  }

  private label(): void {
    const server = this.server;
    this.title.label = server === undefined ? this.trans.__('MCP') : this.trans.__('MCP: %1', server);
    this.title.caption = this.title.label;
    this.title.icon = server === undefined ? serverIcon : iconOf(server);
  }

  private readonly trans: TranslationBundle;
}

export namespace PagePanel {
  export interface IOptions {
    readonly api: Api;
    readonly trans: TranslationBundle;
    readonly themes: IThemeManager | null;
    readonly route: string;
    readonly key: string;
  }
}
