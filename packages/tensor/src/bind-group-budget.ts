/** What holds bind groups and can make them again. */
export interface GroupHolder {
  /** Forgets its bind groups; work that was submitted with them still runs. */
  dropGroups(): void;
}

/**
 * How many bind groups the programs of a device may hold together. Software Vulkan backs each by a memory mapping of the
 * process, of which Linux allows 65,530. Whoever was not used for longest gives its own up first and makes them again when it is
 * replayed: a run with more programs than fit goes on, at some µs per launch.
 */
export class BindGroupBudget {
  readonly #most: number;
  /** the one used last at the end */
  readonly #held = new Map<GroupHolder, number>();
  #latest: GroupHolder | undefined;
  #count = 0;

  /** @param most - bind groups held at one time; a single holder may have more */
  constructor(most: number) {
    this.#most = most;
  }

  /** bind groups held now */
  get count(): number {
    return this.#count;
  }

  /** `holder` is about to make `groups` of them, or uses those it has. */
  use(holder: GroupHolder, groups: number): void {
    if (holder === this.#latest && this.#held.get(holder) === groups) return;
    this.forget(holder);
    for (const [other, count] of this.#held) {
      if (this.#count + groups <= this.#most) break;
      this.#held.delete(other);
      this.#count -= count;
      other.dropGroups();
    }
    this.#held.set(holder, groups);
    this.#count += groups;
    this.#latest = holder;
  }

  /** `holder` has none any more. */
  forget(holder: GroupHolder): void {
    this.#count -= this.#held.get(holder) ?? 0;
    this.#held.delete(holder);
    if (this.#latest === holder) this.#latest = undefined;
  }
}
