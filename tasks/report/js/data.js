// The solutions: an index at once, their texts a chunk at a time when they are wanted.
async function inflate(element) {
  const bytes = Uint8Array.from(atob(element.textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

class Solutions {
  constructor(index, chunks) {
    this.index = index;
    this.length = index.id.length;
    this.chunks = chunks; // elements, until they are inflated
    this.inflated = new Map();
    this.texts = new Map(); // chunk to what is searched of each of its solutions
  }

  static async read() {
    return new Solutions(await inflate(byId("index")), all("script.chunk"));
  }

  chunk(number) {
    if (!this.inflated.has(number)) this.inflated.set(number, inflate(this.chunks[number]));
    return this.inflated.get(number);
  }

  async details(at) {
    const rows = await this.chunk(Math.floor(at / this.index.chunk));
    const [problem, user, reference, answer, error, metadata, score, steps, cut, begun] = rows[at % this.index.chunk];
    return { problem, user, reference, answer, error, metadata, score, steps, cut, begun };
  }

  async searched(number) {
    if (!this.texts.has(number)) {
      const start = number * this.index.chunk;
      const texts = (await this.chunk(number)).map(([problem, , reference, answer, error, metadata, , steps], n) =>
        [this.index.id[start + n], problem, reference, answer, error, metadata,
          ...steps.flat().map((attempt) => attempt[4])].join("\n").toLowerCase());
      this.texts.set(number, texts);
    }
    return this.texts.get(number);
  }
}
