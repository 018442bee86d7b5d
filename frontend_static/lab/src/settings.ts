/** The user's settings as typed values; the defaults equal those of schema/plugin.json. */

import type { ISettingRegistry } from '@jupyterlab/settingregistry';
import { type ISignal, Signal } from '@lumino/signaling';

export class Preferences {
  statusBar = true;
  launcherCards = true;
  /** Seconds. */
  pollInterval = 5;
  inspectorCommand = '';

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** Follow the settings registry. */
  follow(settings: ISettingRegistry.ISettings): void {
    const read = (): void => {
      const { statusBar, launcherCards, pollInterval, inspectorCommand } = settings.composite;
      Object.assign(this, { statusBar, launcherCards, pollInterval, inspectorCommand });
      this._changed.emit();
    };
    settings.changed.connect(read);
    read();
  }

  private readonly _changed = new Signal<this, void>(this);
}
