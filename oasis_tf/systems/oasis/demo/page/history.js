// Undo and redo over states that are never changed in place.

const MOST_STEPS = 100;

export class History {
  #past = [];
  #future = [];

  constructor(state) {
    this.state = state;
  }

  get canUndo() {
    return this.#past.length > 0;
  }

  get canRedo() {
    return this.#future.length > 0;
  }

  commit(state) {
    this.#past.push(this.state);
    if (this.#past.length > MOST_STEPS) this.#past.shift();
    this.#future = [];
    this.state = state;
  }

  undo() {
    if (!this.canUndo) return false;
    this.#future.push(this.state);
    this.state = this.#past.pop();
    return true;
  }

  redo() {
    if (!this.canRedo) return false;
    this.#past.push(this.state);
    this.state = this.#future.pop();
    return true;
  }
}
