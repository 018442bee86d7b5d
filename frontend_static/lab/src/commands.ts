/** The commands of the palette, the menu and the launcher cards. Failures are shown as notifications. */

import type { JupyterFrontEnd } from '@jupyterlab/application';
import { Clipboard, Dialog, type IThemeManager, InputDialog, Notification, showDialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { addIcon, type LabIcon } from '@jupyterlab/ui-components';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';
import type { CommandRegistry } from '@lumino/commands';

import { GatewayError, IDES, type Ide } from './api';
import type { Gateway } from './gateway';
import { iconOf, inspectorIcon, serverIcon } from './icons';
import { hasTerminals, inspectorCommand, openInspector } from './inspector';
import { ADD, ADD_DEMO, type PagePanel, serverIn, routeOf } from './panel';
import type { Preferences } from './settings';
import { isDark } from './theme';

export const CommandIds = {
  open: 'mcp-ws-ide:open',
  openServer: 'mcp-ws-ide:open-server',
  inspect: 'mcp-ws-ide:inspect',
  restart: 'mcp-ws-ide:restart',
  endAll: 'mcp-ws-ide:end-all',
  copyEndpoint: 'mcp-ws-ide:copy-endpoint',
  copyEntry: 'mcp-ws-ide:copy-entry'
} as const;

/** Shows the page at a route; `key` restores a panel. Returns no panel where the application has no place for one. */
export type Show = (route: string, key?: string) => PagePanel | undefined;

type Arguments = ReadonlyPartialJSONObject;

export class Commands {
  constructor(
    private readonly app: JupyterFrontEnd,
    private readonly gateway: Gateway,
    private readonly preferences: Preferences,
    private readonly trans: TranslationBundle,
    private readonly show: Show,
    private readonly themes: IThemeManager | null
  ) {}

  register(): void {
    const { trans } = this;
    this.add(CommandIds.open, trans.__('The MCP page could not be opened'), args => this.open(args), {
      label: args => this.openLabel(args),
      caption: args => this.openCaption(args),
      icon: args => iconFor(args)
    });
    this.add(CommandIds.openServer, trans.__('The MCP server could not be opened'), () => this.openServer(), {
      label: trans.__('Open MCP Server…'),
      icon: serverIcon
    });
    this.add(CommandIds.inspect, trans.__('The MCP inspector could not be opened'), () => this.inspect(), {
      label: args => (args['card'] ? trans.__('Inspector') : trans.__('Open MCP Inspector in a Terminal')),
      caption: trans.__('Watch MCP traffic in a terminal'),
      icon: inspectorIcon,
      isVisible: () => hasTerminals(this.app)
    });
    this.add(CommandIds.restart, trans.__('The MCP server could not be restarted'), args => this.restart(args), {
      label: trans.__('Restart MCP Server…')
    });
    this.add(CommandIds.endAll, trans.__('The MCP sessions could not be ended'), () => this.endAll(), {
      label: trans.__('End All MCP Sessions…')
    });
    const notCopied = trans.__('The MCP endpoint URL could not be copied');
    this.add(CommandIds.copyEndpoint, notCopied, args => this.copyEndpoint(args), {
      label: trans.__('Copy MCP Endpoint URL…')
    });
    this.add(CommandIds.copyEntry, trans.__('The MCP entry could not be copied'), args => this.copyEntry(args), {
      label: trans.__('Copy MCP Entry for Another Program…')
    });
  }

  /** End one session, without confirmation: the running panel shuts down terminals and kernels that way, too. */
  end(id: string): void {
    void this.notified(this.trans.__('The MCP session could not be ended'), () => this.gateway.endSession(id));
  }

  /** End all sessions; the caller has asked the user. */
  async endAllNow(): Promise<void> {
    await this.notified(this.trans.__('Some MCP sessions could not be ended'), () => this.gateway.endAll());
  }

  /** @param failed beginning of the notification if the command fails. */
  private add(
    id: string,
    failed: string,
    run: (args: Arguments) => unknown,
    options: Partial<CommandRegistry.ICommandOptions>
  ): void {
    const execute = (args: Arguments): Promise<unknown> => this.notified(failed, async () => run(args));
    this.app.commands.addCommand(id, { ...options, execute } as CommandRegistry.ICommandOptions);
  }

  private openLabel(args: Arguments): string {
    const server = serverArgument(args);
    const { route, card } = args;
    if (route === ADD) {
      return this.trans.__('Add a Server');
    }
    if (route === ADD_DEMO) {
      return this.trans.__('Try the Demo');
    }
    if (server === undefined) {
      return card ? this.trans.__('Servers') : this.trans.__('Open MCP Page');
    }
    return args['card'] ? server : this.trans.__('Open MCP Server %1', server);
  }

  private openCaption(args: Arguments): string {
    const { trans } = this;
    const server = this.gateway.servers.find(({ name }) => name === serverArgument(args));
    if (server === undefined) {
      return trans.__('Servers, sessions and traffic of the MCP gateway');
    }
    return [trans.__('MCP server %1: %2', server.name, server.state), server.reason].filter(Boolean).join('\n');
  }

  private async open(args: Arguments): Promise<PagePanel | undefined> {
    await this.reached();
    const { route, key } = args;
    if (typeof route === 'string') {
      return this.show(route, typeof key === 'string' ? key : undefined);
    }
    return this.show(routeOf(serverArgument(args)));
  }

  private async openServer(): Promise<void> {
    const server = await this.choose(this.trans.__('Open MCP server'), {});
    if (server !== undefined) {
      this.show(routeOf(server));
    }
  }

  private inspect(): Promise<unknown> {
    return openInspector(this.app, inspectorCommand(this.preferences.inspectorCommand, isDark(this.themes)));
  }

  private async restart(args: Arguments): Promise<void> {
    const { trans } = this;
    const server = await this.choose(trans.__('Restart MCP server'), args, trans.__('Restart'));
    if (server !== undefined) {
      const message =
        (await this.gateway.restart(server)) > 0
          ? trans.__('MCP server %1: processes ended; the next request starts a new one', server)
          : trans.__('MCP server %1: no process was running; the next request starts one', server);
      Notification.success(message, { autoClose: 5000 });
    }
  }

  private async endAll(): Promise<void> {
    await this.reached();
    const { trans } = this;
    const answer = await showDialog({
      title: trans.__('End all MCP sessions?'),
      body: trans.__('Their clients are disconnected, and open requests are cancelled.'),
      buttons: [
        Dialog.cancelButton({ label: trans.__('Cancel') }),
        Dialog.warnButton({ label: trans.__('End All') })
      ]
    });
    if (answer.button.accept) {
      await this.endAllNow();
    }
  }

  private async copyEndpoint(args: Arguments): Promise<void> {
    const { trans } = this;
    const server = await this.choose(trans.__('Copy MCP endpoint URL'), args, trans.__('Copy'));
    if (server !== undefined) {
      Clipboard.copyToSystem(this.gateway.api.endpointUrl(server));
      Notification.success(trans.__('Copied the endpoint URL of %1. It contains no credential.', server), {
        autoClose: 5000
      });
    }
  }

  private async copyEntry(args: Arguments): Promise<void> {
    const { trans } = this;
    const server = await this.choose(trans.__('Copy MCP entry for which server?'), args, trans.__('Next'));
    if (server === undefined) {
      return;
    }
    const answer = await InputDialog.getItem({
      title: trans.__('For which program?'),
      items: [...IDES],
      okLabel: trans.__('Copy'),
      checkbox: {
        label: trans.__('With a new token'),
        caption: trans.__('Valid for this server, for 30 days'),
        checked: true
      }
    });
    if (answer.button.accept && answer.value !== null) {
      const token = answer.isChecked !== false;
      const entry = await this.gateway.api.entry(server, answer.value as Ide, token);
      Clipboard.copyToSystem(JSON.stringify(entry, null, 2));
      const message = token
        ? trans.__('Copied the entry for %1. Its token gives access to this server for 30 days.', server)
        : trans.__('Copied the entry for %1. It contains no credential.', server);
      Notification.success(message, { autoClose: 8000 });
    }
  }

  /** The server in the arguments, else the one that the user selects; undefined if the user cancels. */
  private async choose(title: string, args: Arguments, okLabel = this.trans.__('Open')): Promise<string | undefined> {
    await this.reached();
    const given = serverArgument(args);
    if (given !== undefined) {
      return given;
    }
    const items = this.gateway.servers.map(({ name }) => name);
    if (items.length === 0) {
      throw new Error(this.trans.__('no MCP server is configured; add one on the MCP page or in mcp.json'));
    }
    const current = Math.max(0, items.indexOf(serverIn(this.currentRoute()) ?? ''));
    const answer = await InputDialog.getItem({ title, items, current, okLabel });
    return answer.button.accept ? (answer.value ?? undefined) : undefined;
  }

  /** Throws where there is no gateway, with a message that says what to do. */
  private async reached(): Promise<void> {
    try {
      await this.gateway.reached();
    } catch (error) {
      if (this.gateway.reach !== 'absent') {
        throw error;
      }
      // JupyterLab truncates notifications after 140 characters.
      const command = 'jupyter server extension enable mcp_ws_ide';
      throw new Error(this.trans.__('no MCP gateway here; run "%1", then restart Jupyter', command));
    }
  }

  private currentRoute(): string {
    const route = (this.app.shell.currentWidget as Partial<PagePanel> | null)?.route;
    return typeof route === 'string' ? route : '';
  }

  /** Run an action, and notify the user if it fails. */
  private async notified<T>(failed: string, run: () => Promise<T>): Promise<T | undefined> {
    try {
      return await run();
    } catch (error) {
      Notification.error(`${failed}: ${this.reason(error)}`, { autoClose: false });
      return undefined;
    }
  }

  private reason(error: unknown): string {
    const { trans } = this;
    if (!(error instanceof GatewayError)) {
      return error instanceof Error ? error.message : String(error);
    }
    switch (error.status) {
      case 0:
        return trans.__('the Jupyter server cannot be reached (%1); try again when it is running', error.message);
      case 401:
      case 403:
        return trans.__(
          'Jupyter refused the request (%1); log in again, or ask the administrator of this server',
          error.message
        );
      default:
        return error.message;
    }
  }
}

function iconFor(args: Arguments): LabIcon {
  const server = serverArgument(args);
  if (args['route'] === ADD) {
    return addIcon;
  }
  return server === undefined ? serverIcon : iconOf(server);
}

function serverArgument(args: Arguments): string | undefined {
  const server = args['server'];
  return typeof server === 'string' && server !== '' ? server : undefined;
}
