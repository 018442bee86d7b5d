/** The gateways that share their sessions, with what each carries; nothing where a gateway stands alone. */

import type { Instance } from "../api.js";
import { duration } from "../format.js";
import { instances, usePolled } from "../polled.js";
import { href } from "../route.js";
import { Badge, Banner } from "../ui/parts.js";
import { Table } from "../ui/table.js";

export function Gateways() {
  const { value, error } = usePolled(instances);
  if (value === undefined || value.length === 0) return null;
  return (
    <>
      <h2>Gateways</h2>
      {error && <Banner kind="bad">{error.message}</Banner>}
      <div class="scroll" tabIndex={0} role="region" aria-label="Table of gateways">
        <Table columns={COLUMNS}>
          {value.map((instance) => (
            <Line key={instance.id} instance={instance} />
          ))}
        </Table>
      </div>
    </>
  );
}

const COLUMNS = ["Gateway", "State", "#Sessions", "#Links", "#Processes", "Up", "Address", "Version", ""];

function Line({ instance }: { instance: Instance }) {
  const { id, self } = instance;
  return (
    <tr>
      <td class="mono" title={id}>
        {id.slice(0, 8)} {self && <Badge title="It serves this page">this one</Badge>}
      </td>
      <td>
        <State instance={instance} />
      </td>
      <td class="number">{instance.sessions.toLocaleString()}</td>
      <td class="number">{instance.links.toLocaleString()}</td>
      <td class="number">{instance.processes.toLocaleString()}</td>
      <td>{duration(instances.at - instance.started)}</td>
      <td class="mono">{instance.peer}</td>
      <td>{instance.version}</td>
      <td>
        <a href={href(["traffic"], { filter: `gateway:${id.slice(0, 8)}` })}>Traffic</a>
      </td>
    </tr>
  );
}

function State({ instance: { draining, to_drain, problem } }: { instance: Instance }) {
  if (problem) {
    return (
      <Badge kind="bad" title={problem}>
        no answer
      </Badge>
    );
  }
  return draining ? <Badge kind="warn">{`draining, ${to_drain} left`}</Badge> : <Badge kind="good">ready</Badge>;
}
