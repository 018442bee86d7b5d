/** Views whose code is loaded when they are first shown. */

import type { ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Banner, Empty } from "./parts.js";

export function lazy<Props extends object>(load: () => Promise<{ default: ComponentType<Props> }>): ComponentType<Props> {
  let Loaded: ComponentType<Props> | undefined;
  return function Lazy(props: Props) {
    const [error, setError] = useState("");
    const [, show] = useState(0);
    useEffect(() => {
      if (Loaded !== undefined) return;
      load().then(
        (module) => {
          Loaded = module.default;
          show(1);
        },
        () => setError("Part of the page could not be loaded."),
      );
    }, []);
    if (Loaded !== undefined) return <Loaded {...props} />;
    if (!error) return <Empty>Loading …</Empty>;
    return (
      <div class="view">
        <Banner kind="bad">
          {error}{" "}
          <button type="button" onClick={() => location.reload()}>
            Reload the page
          </button>
        </Banner>
      </div>
    );
  };
}
