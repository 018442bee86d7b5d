/**
 * The JupyterLab extension: its plugins, and the parts of the application that each needs. Notebook 7 lacks some of
 * them: the plugins that need those do nothing there, and the page opens in a browser tab.
 */

import { ILabShell, ILayoutRestorer, type JupyterFrontEnd, type JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette, IThemeManager, WidgetTracker } from '@jupyterlab/apputils';
import { ILauncher } from '@jupyterlab/launcher';
import { IRunningSessionManagers } from '@jupyterlab/running';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { IStatusBar } from '@jupyterlab/statusbar';
import { ITranslator, nullTranslator, type TranslationBundle } from '@jupyterlab/translation';
import { Token, UUID } from '@lumino/coreutils';
import { Signal } from '@lumino/signaling';

import { Api } from './api';
import { CommandIds, Commands, type Show } from './commands';
import { Gateway, IGateway } from './gateway';
import { hasTerminals } from './inspector';
import { addCards } from './launcher';
import { PagePanel, serverIn } from './panel';
import { RunningMcpSessions } from './running';
import { Preferences } from './settings';
import { StatusItem } from './status';

const ICommands = new Token<Commands>('mcp-ws-ide:ICommands', 'Commands for MCP servers and sessions.');
const IPreferences = new Token<Preferences>('mcp-ws-ide:IPreferences', 'Settings of the MCP extension.');
const SETTINGS = 'mcp-ws-ide:plugin';

function bundle(translator: ITranslator | null): TranslationBundle {
  return (translator ?? nullTranslator).load('mcp_ws_ide');
}

/** The id must be that of the settings schema. */
const settings: JupyterFrontEndPlugin<Preferences> = {
  id: SETTINGS,
  description: 'Settings of the MCP extension.',
  autoStart: true,
  provides: IPreferences,
  optional: [ISettingRegistry],
  activate: (_app: JupyterFrontEnd, registry: ISettingRegistry | null) => {
    const preferences = new Preferences();
    registry?.load(SETTINGS).then(
      loaded => preferences.follow(loaded),
      error => console.warn('mcp-ws-ide: the settings could not be loaded; using the defaults', error)
    );
    return preferences;
  }
};

const gateway: JupyterFrontEndPlugin<Gateway> = {
  id: 'mcp-ws-ide:gateway',
  description: 'Polls the servers and sessions of the MCP gateway.',
  autoStart: true,
  provides: IGateway,
  requires: [IPreferences],
  activate: (app: JupyterFrontEnd, preferences: Preferences) => {
    const watched = new Gateway(new Api(app.serviceManager.serverSettings), preferences.pollInterval);
    preferences.changed.connect(() => {
      watched.interval = preferences.pollInterval;
    });
    return watched;
  }
};

const page: JupyterFrontEndPlugin<Commands> = {
  id: 'mcp-ws-ide:page',
  description: 'The MCP page as a panel, and the MCP commands.',
  autoStart: true,
  provides: ICommands,
  requires: [IGateway, IPreferences],
  optional: [ILabShell, ILayoutRestorer, IThemeManager, ICommandPalette, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    watched: Gateway,
    preferences: Preferences,
    labShell: ILabShell | null,
    restorer: ILayoutRestorer | null,
    themes: IThemeManager | null,
    palette: ICommandPalette | null,
    translator: ITranslator | null
  ) => {
    const trans = bundle(translator);
    const show: Show = labShell
      ? panels(labShell, watched.api, trans, themes, restorer)
      : route => void window.open(watched.api.pageUrl(route, false), '_blank', 'noopener');
    const commands = new Commands(app, watched, preferences, trans, show, themes);
    commands.register();
    for (const command of Object.values(CommandIds)) {
      palette?.addItem({ command, category: trans.__('MCP') });
    }
    return commands;
  }
};

/** Shows the page in JupyterLab: in the panel that shows it already, or in a new one. */
function panels(
  shell: ILabShell,
  api: Api,
  trans: TranslationBundle,
  themes: IThemeManager | null,
  restorer: ILayoutRestorer | null
): Show {
  const tracker = new WidgetTracker<PagePanel>({ namespace: 'mcp-ws-ide' });
  void restorer?.restore(tracker, {
    command: CommandIds.open,
    args: ({ route, key }) => ({ route, key }),
    name: ({ key }) => key
  });
  const make = (route: string, key: string): PagePanel => {
    const panel = new PagePanel({ api, trans, themes, route, key });
    panel.moved.connect(() => void tracker.save(panel));
    void tracker.add(panel);
    shell.add(panel, 'main', { type: 'MCP' });
    return panel;
  };
  return (route, key) => {
    const server = serverIn(route);
    const adds = route.includes('?'); // a form is a panel of its own
    const shown = tracker.find(other => (key === undefined ? !adds && other.server === server : other.key === key));
    const panel = shown ?? make(route, key ?? UUID.uuid4());
    shell.activateById(panel.id);
    return panel;
  };
}

const cards: JupyterFrontEndPlugin<void> = {
  id: 'mcp-ws-ide:launcher',
  description: 'Launcher cards for MCP servers and the inspector.',
  autoStart: true,
  requires: [IGateway, IPreferences, ICommands],
  optional: [ILauncher],
  activate: (
    app: JupyterFrontEnd,
    watched: Gateway,
    preferences: Preferences,
    _commands: Commands,
    launcher: ILauncher | null
  ) => {
    if (launcher) {
      // The plugin of terminals may be activated later.
      void app.restored.then(() => addCards(launcher, watched, preferences, () => hasTerminals(app)));
    }
  }
};

const running: JupyterFrontEndPlugin<void> = {
  id: 'mcp-ws-ide:running',
  description: 'MCP sessions in the running panel.',
  autoStart: true,
  requires: [IGateway, ICommands],
  optional: [IRunningSessionManagers, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    watched: Gateway,
    commands: Commands,
    managers: IRunningSessionManagers | null,
    translator: ITranslator | null
  ) => {
    const actions = {
      open: (server: string) => void app.commands.execute(CommandIds.open, { server }),
      end: ({ id }: { id: string }) => commands.end(id),
      endAll: () => void commands.endAllNow()
    };
    managers?.add(new RunningMcpSessions(watched, bundle(translator), actions));
  }
};

const status: JupyterFrontEndPlugin<void> = {
  id: 'mcp-ws-ide:status',
  description: 'MCP sessions and the state of the gateway in the status bar.',
  autoStart: true,
  requires: [IGateway, IPreferences],
  optional: [IStatusBar, ITranslator, ILabShell],
  activate: (
    app: JupyterFrontEnd,
    watched: Gateway,
    preferences: Preferences,
    bar: IStatusBar | null,
    translator: ITranslator | null,
    labShell: ILabShell | null
  ) => {
    if (!bar) {
      return;
    }
    const open = (): void => {
      if (labShell && app.commands.hasCommand(RUNNING_PANEL)) {
        void app.commands.execute(RUNNING_PANEL);
      } else {
        void app.commands.execute(CommandIds.open);
      }
    };
    const changed = new Signal<Preferences, void>(preferences);
    preferences.changed.connect(() => changed.emit());
    bar.registerStatusItem('mcp-ws-ide:status', {
      item: new StatusItem(watched, bundle(translator), open),
      align: 'left',
      rank: 4,
      isActive: () => preferences.statusBar,
      activeStateChanged: changed
    });
  }
};

const RUNNING_PANEL = 'running:show-panel';

export { IGateway } from './gateway';
export default [settings, gateway, page, cards, running, status];
