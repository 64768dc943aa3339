// The list of solutions, a page at a time.
const PER_PAGE = 30;

class Browser {
  constructor(solutions) {
    this.solutions = solutions;
    this.found = [];
    this.page = 0;
    this.filters = new Filters(solutions, () => this.filter());
    this.order = new Order(solutions.index, () => this.sort());
    this.links = new Links(solutions.index);
    byId("previous").addEventListener("click", () => this.turn(-1));
    byId("next").addEventListener("click", () => this.turn(1));
    addEventListener("hashchange", () => this.follow());
  }

  async filter() {
    const found = await this.filters.passing();
    if (found === null) return;
    this.found = found;
    this.sort();
  }

  sort() {
    this.found = this.order.sorted(this.found);
    this.page = 0;
    this.show();
  }

  turn(by) {
    this.page += by;
    this.show();
    byId("browser").scrollIntoView();
  }

  // Open the solution that the page's address asks for. Filters that keep it out are taken off.
  async follow() {
    const asked = this.links.asked();
    byId("missing").hidden = !asked?.missing;
    byId("missing").textContent = asked?.missing ?? "";
    if (asked === null) return;
    if (asked.missing) return byId("browser").scrollIntoView();
    if (!this.found.includes(asked.at)) {
      this.filters.clear();
      await this.filter();
    }
    const place = this.found.indexOf(asked.at);
    if (place < 0) return; // a search that was begun meanwhile keeps it out
    const page = Math.floor(place / PER_PAGE);
    if (page !== this.page) {
      this.page = page;
      this.show();
    }
    const item = byId("solutions").children[place % PER_PAGE];
    const button = item.querySelector(".line");
    for (const other of all("#solutions > .linked")) other.classList.remove("linked");
    item.classList.add("linked");
    if (button.getAttribute("aria-expanded") !== "true") await toggle(item, button, this, asked.at);
    item.scrollIntoView();
    button.focus({ preventScroll: true });
  }

  show() {
    const { found, page } = this;
    const pages = Math.max(1, Math.ceil(found.length / PER_PAGE));
    const shown = found.slice(page * PER_PAGE, (page + 1) * PER_PAGE);
    byId("solutions").replaceChildren(...shown.map((at) => solutionLine(this, at)));
    const number = (n) => n.toLocaleString("en");
    byId("count").textContent = `${number(found.length)} of ${number(this.solutions.length)} solutions`;
    byId("page").textContent = `${number(page + 1)} of ${number(pages)}`;
    byId("previous").disabled = page === 0;
    byId("next").disabled = page + 1 >= pages;
    byId("pages").hidden = pages < 2;
  }
}
