/** The view Sessions. */

import { Empty } from "../ui/parts.js";

export function Sessions() {
  return (
    <section class="view" aria-label="Sessions">
      <Empty>Nothing here yet.</Empty>
    </section>
  );
}
