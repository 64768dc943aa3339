// The list of solutions, a page at a time.
const PER_PAGE = 30;

class Browser {
  constructor(solutions) {
    this.solutions = solutions;
    this.found = [];
    this.page = 0;
    this.filters = new Filters(solutions, () => this.filter());
    byId("previous").addEventListener("click", () => this.turn(-1));
    byId("next").addEventListener("click", () => this.turn(1));
  }

  async filter() {
    const found = await this.filters.passing();
    if (found === null) return;
    this.found = found;
    this.page = 0;
    this.show();
  }

  turn(by) {
    this.page += by;
    this.show();
    byId("browser").scrollIntoView();
  }

  show() {
    const { found, page } = this;
    const pages = Math.max(1, Math.ceil(found.length / PER_PAGE));
    const shown = found.slice(page * PER_PAGE, (page + 1) * PER_PAGE);
    byId("solutions").replaceChildren(...shown.map((at) => solutionLine(this.solutions, at)));
    const number = (n) => n.toLocaleString("en");
    byId("count").textContent = `${number(found.length)} of ${number(this.solutions.length)} solutions`;
    byId("page").textContent = `${number(page + 1)} of ${number(pages)}`;
    byId("previous").disabled = page === 0;
    byId("next").disabled = page + 1 >= pages;
    byId("pages").hidden = pages < 2;
  }
}
