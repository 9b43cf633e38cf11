/* The list of notifications, with the newest at the top.

   Even if notifications arrive fast, the list changes at most once per frame of the screen, has at
   most LONGEST entries, and speaks to screen readers at most once per SPEAK_MS. */

const LONGEST = 100;
const LONGEST_TEXT = 4000;
const SPEAK_MS = 3000;
const LEVELS = ["info", "success", "warning", "error"];

const timeOfDay = new Intl.DateTimeFormat(undefined, {
    hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
});

export class Feed {
    #list;
    #template;
    #announcement;
    #onHeld;
    #waiting = []; // notifications to show; the newest is the last
    #held = 0; // notifications that arrived during a pause
    #paused = false;
    #frame = null;
    #unspoken = 0;
    #speaking = null;

    /* onHeld(paused, held) is called when the pause or the number of held notifications changes. */
    constructor({ list, template, announcement, onHeld }) {
        this.#list = list;
        this.#template = template;
        this.#announcement = announcement;
        this.#onHeld = onHeld;
    }

    /* Adds a notification. Do not trust its text, level and from: they are shown as text only. */
    add(notification) {
        this.#waiting.push(notification);
        if (this.#waiting.length > LONGEST) this.#waiting.shift();
        if (this.#paused) this.#onHeld(true, ++this.#held);
        else this.#showSoon();
        this.#speakSoon(notification);
    }

    togglePause() {
        this.#paused = !this.#paused;
        this.#held = 0;
        this.#onHeld(this.#paused, 0);
        if (!this.#paused) this.#showSoon();
    }

    clear() {
        this.#waiting = [];
        this.#list.replaceChildren();
        if (!this.#paused) return;
        this.#held = 0;
        this.#onHeld(true, 0);
    }

    #showSoon() {
        this.#frame ??= requestAnimationFrame(() => {
            this.#frame = null;
            if (!this.#paused) this.#show();
        });
    }

    #show() {
        const items = this.#waiting.map((notification) => this.#item(notification)).reverse();
        this.#waiting = [];
        this.#list.prepend(...items);
        while (this.#list.children.length > LONGEST) this.#list.lastChild.remove();
    }

    #item({ text, level, from, at }) {
        const item = this.#template.content.firstElementChild.cloneNode(true);
        const known = LEVELS.includes(level) ? level : "info";
        item.dataset.level = known;
        item.querySelector(".mark").setAttribute("aria-label", known);
        item.querySelector("use").setAttribute("href", `#icon-${known}`);
        item.querySelector(".text").textContent = shorten(text);
        item.querySelector(".origin span").textContent = from ?? "";
        item.querySelector("time").textContent = timeOfDay.format(at);
        item.querySelector("time").dateTime = at.toISOString();
        return item;
    }

    #speakSoon({ text }) {
        this.#unspoken++;
        this.#speaking ??= setTimeout(() => {
            const count = this.#unspoken;
            this.#announcement.textContent =
                count > 1 ? `${count} new notifications` : shorten(text);
            this.#unspoken = 0;
            this.#speaking = null;
        }, SPEAK_MS);
    }
}

function shorten(text) {
    const characters = [...text];
    if (characters.length <= LONGEST_TEXT) return text;
    return `${characters.slice(0, LONGEST_TEXT).join("")}…`;
}
