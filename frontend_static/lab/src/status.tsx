/** The status bar item: the number of sessions, and whether the gateway answers. */

import { TextItem } from '@jupyterlab/statusbar';
import type { TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget } from '@jupyterlab/ui-components';
import React from 'react';

import type { Gateway } from './gateway';

export class StatusItem extends ReactWidget {
  constructor(
    private readonly gateway: Gateway,
    private readonly trans: TranslationBundle,
    private readonly onClick: () => void
  ) {
    super();
    this.addClass('mcp-Status');
    this.addClass('jp-mod-highlighted');
    gateway.changed.connect(() => this.update());
  }

  override render(): React.ReactElement {
    const { text, title } = this.wording();
    this.toggleClass('mcp-mod-unreachable', ['unreachable', 'refused'].includes(this.gateway.reach));
    const onKeyDown = ({ key }: React.KeyboardEvent): void => {
      if (key === 'Enter' || key === ' ') {
        this.onClick();
      }
    };
    return (
      <TextItem
        source={text}
        title={title}
        role="button"
        tabIndex={0}
        aria-label={title}
        onClick={this.onClick}
        onKeyDown={onKeyDown}
      />
    );
  }

  private wording(): { text: string; title: string } {
    const { gateway, trans } = this;
    const count = gateway.sessions.length;
    switch (gateway.reach) {
      case 'reachable':
        return {
          text: trans.__('MCP: %1', String(count)),
          title: trans._n(
            '%1 MCP session; the gateway is reachable',
            '%1 MCP sessions; the gateway is reachable',
            count
          )
        };
      case 'absent':
        return {
          text: trans.__('MCP: off'),
          title: trans.__('This Jupyter server has no MCP gateway; enable the server extension mcp_ws_ide')
        };
      case 'unknown':
        return { text: trans.__('MCP: …'), title: trans.__('Connecting to the MCP gateway') };
      case 'refused':
        return {
          text: trans.__('MCP: refused'),
          title: trans.__(
            'The MCP gateway refused the request (%1); log in again, or ask the administrator of this server',
            gateway.problem
          )
        };
      default:
        return {
          text: trans.__('MCP: unreachable'),
          title: trans.__('The MCP gateway does not answer (%1)', gateway.problem)
        };
    }
  }
}
