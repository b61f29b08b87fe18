// One request at a time, and only the newest.

import { untilFree } from "./fetching.js";

const SUPERSEDED = 409;

/**
 * Requests the newest image only. One request is under way at a time; if more are wanted meanwhile,
 * one request is sent when the answer comes, with the state of that moment.
 */
export class Newest {
  #busy = false;
  #wanted = false;

  /**
   * ask: async function that sends the present state; done(result, milliseconds); failed(error);
   * working(boolean); waiting(seconds) while the server is busy; pause: milliseconds to wait for
   * further changes before the first request.
   */
  constructor({ ask, done, failed, working, waiting, pause = 20 }) {
    Object.assign(this, { ask, done, failed, working, waiting, pause });
  }

  want() {
    this.#wanted = true;
    if (this.#busy) return;
    this.#busy = true;
    this.working(true);
    setTimeout(() => this.#run(), this.pause);
  }

  async #run() {
    while (this.#wanted) {
      this.#wanted = false;
      const start = performance.now();
      try {
        const result = await this.ask();
        await this.done(result, performance.now() - start);
      } catch (error) {
        if (error.busy) {
          this.#wanted = true;
          await untilFree(error, this.waiting);
        } else if (error.status !== SUPERSEDED) {
          this.failed(error);
        }
      }
    }
    this.#busy = false;
    this.working(false);
  }
}
