/** The gateway's servers; each opens as a client. */

import { servers, usePolled } from "../polled.js";
import { href } from "../route.js";
import { Badge, Banner, Empty, moveFocus } from "../ui/parts.js";

export function Servers() {
  const { value, error } = usePolled(servers);
  return (
    <section class="view" aria-label="Servers">
      {error && <Banner kind="bad">{error.message}</Banner>}
      {value?.servers.length === 0 && <Empty>No server is configured.</Empty>}
      <ul class="list" onKeyDown={moveFocus("a")}>
        {value?.servers.map((server) => (
          <li key={server.name}>
            <a href={href(["server", server.name])}>
              {server.name} <Badge>{server.state}</Badge>
            </a>
          </li>
        ))}
      </ul>
    </section>
  );
}
