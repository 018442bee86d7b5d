/**
 * The page as a panel of JupyterLab. The page itself does everything; the panel gives it a place, the theme, a
 * title, and its route back after a reload.
 */

import { type IThemeManager, MainAreaWidget } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { IFrame } from '@jupyterlab/ui-components';
import { Signal } from '@lumino/signaling';

import type { Api } from './api';
import { serverIcon } from './icons';
import { themeMessage } from './theme';

/** The route of a server's view; none means the overview. */
export function routeOf(server?: string): string {
  return server === undefined ? '#/servers' : `#/server/${encodeURIComponent(server)}`;
}

/** The server that a route shows, if it shows one. */
export function serverIn(route: string): string | undefined {
  const found = /^#\/server\/([^/?]+)/.exec(route);
  return found?.[1] === undefined ? undefined : decodeURIComponent(found[1]);
}

class Page extends IFrame {
  constructor(
    private readonly options: PagePanel.IOptions,
    public route: string
  ) {
    super();
    this.addClass('mcp-Panel');
    // It is of our own origin: a sandbox that lets it run as such would keep it from nothing. Its CSP is strict.
    this.frame.removeAttribute('sandbox');
    this.frame.title = options.trans.__('MCP');
    this.frame.name = options.key; // under which the page finds its sessions again
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

  /** Remember where the page says that the user went. */
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

  /** Lumino sees no click inside a frame, and would take another panel for the current one. */
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
    this.title.icon = serverIcon;
    this.title.closable = true;
    this.content.moved.connect(this.label, this);
    this.label();
  }

  /** What tells this panel from others, and finds it after a reload; the route may have changed since. */
  readonly key: string;

  /** Where the page is: `#/…`. */
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
