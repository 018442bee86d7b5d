/** An error boundary: a rendering error inside shows a message in its place and leaves the rest of the page usable. */

import { Component, type ComponentChildren } from "preact";
import { Banner } from "./parts.js";

interface Props {
  /** What is rendered here, for the error message: `this tool`. */
  readonly what: string;
  /** What else the user can do, as a sentence. */
  readonly instead?: string;
  readonly children: ComponentChildren;
}

/** Give it a `key`, so that other content at the same place starts without the error. */
export class Guard extends Component<Props, { message: string | undefined }> {
  override state = { message: undefined };

  static override getDerivedStateFromError(error: unknown): { message: string } {
    return { message: error instanceof Error ? error.message : String(error) };
  }

  override render({ what, instead = "", children }: Props, { message }: { message: string | undefined }) {
    if (message === undefined) return children;
    return (
      <Banner kind="bad">
        Cannot display {what}: {message}. {instead}{" "}
        <button type="button" onClick={() => this.setState({ message: undefined })}>
          Try again
        </button>
      </Banner>
    );
  }
}
