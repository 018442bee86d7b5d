/** The view Traffic. */

import { Empty } from "../ui/parts.js";

export function Traffic() {
  return (
    <section class="view" aria-label="Traffic">
      <Empty>Nothing here yet.</Empty>
    </section>
  );
}
