/* A bar chart of the messages per second in the last minute, in an SVG element.

   The bar on the right is the current second. x and width are percentages, so the chart fits any
   width without being drawn again. */

const SECONDS = 60;
const BASE = 128; // y of the lowest line; the labels of time are below it
const TOP = 12; // y of the highest line; its label needs this space
const MARGIN = 8; // percent of the width on the left, for the labels
const STEP = (100 - MARGIN) / SECONDS;
const ROUND_STEPS = [1, 2, 4, 6, 10];

export class Chart {
    #svg;
    #onFigures;
    #counts = new Array(SECONDS).fill(0); // messages per second; the current second is the last
    #second = secondNow();
    #total = 0;
    #bars;
    #lines;
    #frame = null;

    /* onFigures is called with {now, peak, total}: the count of the last full second, the highest
       count of the minute, and the count of all messages. */
    constructor(svg, onFigures) {
        this.#svg = svg;
        this.#onFigures = onFigures;
        this.#lines = [0, 0.5, 1].map((part) => this.#line(part));
        this.#bars = this.#counts.map((_, index) => this.#bar(index));
        this.#label(`${MARGIN}%`, "start", "a minute ago");
        this.#label("100%", "end", "now");
        setInterval(() => this.#drawSoon(), 250);
        this.#draw();
    }

    /* Counts a message. */
    count() {
        this.#advance();
        this.#counts[SECONDS - 1]++;
        this.#total++;
        this.#drawSoon();
    }

    /* Moves the counts to the left by the seconds that have passed. */
    #advance() {
        const second = secondNow();
        const passed = Math.min(second - this.#second, SECONDS);
        this.#second = second;
        this.#counts = [...this.#counts.slice(passed), ...new Array(passed).fill(0)];
    }

    /* Draws at most once per frame of the screen. */
    #drawSoon() {
        this.#frame ??= requestAnimationFrame(() => {
            this.#frame = null;
            this.#advance();
            this.#draw();
        });
    }

    #draw() {
        const now = this.#counts[SECONDS - 2];
        const peak = Math.max(...this.#counts);
        const scale = roundUp(peak);
        this.#bars.forEach((bar, index) => this.#drawBar(bar, this.#counts[index] / scale));
        this.#lines.forEach(({ part, label }) => { label.textContent = part ? part * scale : ""; });
        this.#svg.setAttribute("aria-label",
            `In the last minute: ${now} per second now, ${peak} at most, ${this.#total} in all`);
        this.#onFigures({ now, peak, total: this.#total });
    }

    #drawBar(bar, part) {
        const height = part ? Math.max(3, part * (BASE - TOP)) : 0;
        bar.setAttribute("y", BASE - height);
        bar.setAttribute("height", height);
    }

    #bar(index) {
        return this.#add("rect", {
            class: index === SECONDS - 1 ? "running" : "past",
            x: `${MARGIN + index * STEP}%`, width: `${STEP * 0.7}%`, rx: 1.5,
        });
    }

    #line(part) {
        const y = BASE - part * (BASE - TOP);
        this.#add("line", { x1: `${MARGIN}%`, x2: "100%", y1: y, y2: y });
        return { part, label: this.#add("text", { x: 0, y: y + 4 }) };
    }

    #label(x, anchor, text) {
        this.#add("text", { x, y: BASE + 18, "text-anchor": anchor }).textContent = text;
    }

    #add(name, attributes) {
        const node = document.createElementNS("http://www.w3.org/2000/svg", name);
        for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
        this.#svg.append(node);
        return node;
    }
}

function secondNow() {
    return Math.floor(performance.now() / 1000);
}

/* Returns the next number that is easy to read and to halve: 4, 6, 10, 20, 40, 60, 100, ... */
function roundUp(count) {
    const power = 10 ** Math.floor(Math.log10(Math.max(count, 4)));
    return Math.max(4, ROUND_STEPS.map((step) => step * power).find((step) => step >= count));
}
