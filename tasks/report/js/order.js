// In which order solutions are listed.
const ORDERS = [ // what is sorted by, whether downwards at first, and how a solution's own is told
  { name: "problem", label: "problem", downwards: false, tell: () => null },
  { name: "reward", label: "least reward", downwards: false, tell: (value) => (value === null ? "no reward" : `least reward ${value.toFixed(3)}`) },
  { name: "target_steps", label: "target steps", downwards: true, tell: (value) => `${value} target step${value === 1 ? "" : "s"}` },
  { name: "tokens", label: "tokens", downwards: true, tell: (value) => `${value.toLocaleString("en")} tokens` },
  { name: "verdict", label: "verdict", downwards: false, tell: () => null },
];

class Order {
  constructor(index, changed) {
    this.index = index;
    const { compare } = new Intl.Collator("en", { numeric: true }); // problem 9 before problem 10
    const rank = new Array(index.id.length);
    [...index.id.keys()].sort((a, b) => compare(index.id[a], index.id[b]) || a - b).forEach((at, place) => { rank[at] = place; });
    this.rank = rank;
    const known = (name) => name === "problem" || new Set(index[name]).size > 1;
    this.orders = ORDERS.filter(({ name }) => known(name));
    byId("sort").append(...this.orders.map(({ label }, place) => new Option(`by ${label}`, place)));
    this.point(this.now.downwards);
    byId("sort").addEventListener("change", () => { this.point(this.now.downwards); changed(); });
    byId("direction").addEventListener("click", () => { this.point(!this.downwards); changed(); });
  }

  get now() {
    return this.orders[Number(byId("sort").value)];
  }

  point(downwards) {
    this.downwards = downwards;
    byId("direction").textContent = downwards ? "↓" : "↑";
    byId("direction").setAttribute("aria-label", downwards ? "Sorted downwards; reverse" : "Sorted upwards; reverse");
    byId("direction").title = downwards ? "downwards" : "upwards";
  }

  values() {
    return this.now.name === "problem" ? this.rank : this.index[this.now.name];
  }

  // What is missing stands last either way; what is alike, by problem.
  sorted(found) {
    const [values, sign, { rank }] = [this.values(), this.downwards ? -1 : 1, this];
    return [...found].sort((a, b) => {
      const [x, y] = [values[a], values[b]];
      if (x === null || y === null) return (x === null) - (y === null) || rank[a] - rank[b];
      return sign * (x - y) || rank[a] - rank[b];
    });
  }

  tell(at) {
    return this.now.tell(this.values()[at]);
  }
}
