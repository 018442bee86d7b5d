/** Keeps a mistake in what is drawn inside from the rest of the page, and says it. */

import { Component, type ComponentChildren } from "preact";
import { Banner } from "./parts.js";

interface Props {
  /** What stands here, as the beginning of a sentence. */
  readonly what: string;
  /** What else the user may do, as a sentence. */
  readonly instead?: string;
  readonly children: ComponentChildren;
}

/** Give it a key, so that something else at its place is drawn afresh. */
export class Guard extends Component<Props, { words: string | undefined }> {
  override state = { words: undefined };

  static override getDerivedStateFromError(error: unknown): { words: string } {
    return { words: error instanceof Error ? error.message : String(error) };
  }

  override render({ what, instead = "", children }: Props, { words }: { words: string | undefined }) {
    if (words === undefined) return children;
    return (
      <Banner kind="bad">
        {what} cannot be drawn: {words}. {instead}{" "}
        <button type="button" onClick={() => this.setState({ words: undefined })}>
          Try again
        </button>
      </Banner>
    );
  }
}
