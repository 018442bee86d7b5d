/** One server as a client sees it. */

import { Empty } from "../ui/parts.js";

export function ServerClient({ name }: { name: string }) {
  return (
    <section class="view" aria-label={`Server ${name}`}>
      <Empty>Nothing here yet.</Empty>
    </section>
  );
}
