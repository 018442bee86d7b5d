/** Requests of a server to the user: a form, a URL to visit, a model's response (elicitation and sampling). */

import { signal, type Signal } from "@preact/signals";

export type QuestionKind = "form" | "url" | "sampling";

export interface Question {
  readonly number: number;
  readonly kind: QuestionKind;
  readonly params: any;
  /** Answer, which closes the question. */
  readonly answer: (result: any) => void;
  /** Refuse with an error, which closes the question. */
  readonly refuse: (reason: string) => void;
}

let count = 0;

/** The open questions of one server. */
export class Questions {
  readonly open: Signal<readonly Question[]> = signal([]);

  /** Ask the user; rejected where the user refuses or the server withdraws the request. */
  ask(kind: QuestionKind, params: any, given: AbortSignal): Promise<any> {
    count += 1;
    const number = count;
    return new Promise((resolve, reject) => {
      const close = (): void => {
        this.open.value = this.open.peek().filter((question) => question.number !== number);
      };
      const refuse = (reason: string): void => {
        close();
        reject(Object.assign(new Error(reason), { code: -1 }));
      };
      const answer = (result: any): void => {
        close();
        resolve(result);
      };
      given.addEventListener("abort", () => refuse("the request was withdrawn"));
      if (!given.aborted) this.open.value = [...this.open.peek(), { number, kind, params, answer, refuse }];
    });
  }

  clear(): void {
    for (const { refuse } of this.open.peek()) refuse("the connection has ended");
  }
}
