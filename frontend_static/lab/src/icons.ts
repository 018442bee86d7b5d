/** The icons of the extension; creating them registers them. */

import { LabIcon } from '@jupyterlab/ui-components';

import inspector from '../style/icons/inspector.svg';
import server from '../style/icons/server.svg';

export const serverIcon = new LabIcon({ name: 'mcp-ws-ide:server', svgstr: server });
export const inspectorIcon = new LabIcon({ name: 'mcp-ws-ide:inspector', svgstr: inspector });
