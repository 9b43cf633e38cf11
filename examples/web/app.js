/* How does a web page use the same broker as the C client?

   This page shows the notifications of a topic and sends new ones. `make demo-web` starts it with a
   broker. This file connects the elements of index.html with a connection (connection.js), a list
   (feed.js), a chart (chart.js) and a form. */

import { Chart } from "./chart.js";
import { Connection } from "./connection.js";
import { Feed } from "./feed.js";

const element = (id) => document.getElementById(id);
const { endpoint, destination } = document.body.dataset;
const url = new URL(endpoint, location.href.replace(/^http/, "ws")).href;

if (!globalThis.StompJs) {
    element("state").textContent = "Not built";
    element("detail").textContent = "stomp.umd.min.js is missing; run tests/web/build.sh";
    throw new Error("stomp.umd.min.js is missing");
}

const chart = new Chart(element("chart"), ({ now, peak, total }) => {
    element("now").textContent = now;
    element("peak").textContent = peak;
    element("total").textContent = total.toLocaleString();
});

const feed = new Feed({
    list: element("list"),
    template: element("item"),
    announcement: element("announcement"),
    onHeld: showPause,
});

/* ---- the connection and its state ---- */

const describe = {
    connecting: () => ["Connecting", ""],
    connected: ({ server, version }) =>
        ["Connected", `to ${server || "a broker without a name"}, STOMP ${version}`],
    waiting: ({ reason }) => ["Reconnecting", reason],
};

let state = {};

function showState(next) {
    const [title, detail] = describe[next.name](next);
    state = next;
    element("connection").dataset.state = next.name;
    element("state").textContent = title;
    element("detail").textContent = detail;
    element("retry").hidden = next.name !== "waiting";
    element("send").disabled = next.name !== "connected";
    if (next.name === "waiting") showCountdown();
}

function showCountdown() {
    if (state.name !== "waiting") return;
    const seconds = Math.max(1, Math.ceil((state.until - performance.now()) / 1000));
    element("detail").textContent = `in ${seconds} s, because ${state.reason}`;
    setTimeout(showCountdown, 250);
}

const connection = new Connection({
    url,
    destination,
    onState: showState,
    onMessage({ body, headers }) {
        chart.count();
        feed.add({ text: body, level: headers.level, from: headers.from, at: new Date() });
    },
});

element("retry").addEventListener("click", () => connection.retry());
addEventListener("online", () => connection.retry());
document.addEventListener("visibilitychange", () => {
    if (!document.hidden) connection.retry();
});

/* ---- the form ---- */

const form = element("form");
const text = element("text");

form.addEventListener("submit", (event) => {
    event.preventDefault();
    const headers = { level: form.elements.level.value, from: "web page" };
    if (connection.send(text.value, headers)) text.value = "";
    text.focus();
});

text.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    if (!element("send").disabled) form.requestSubmit();
});

/* ---- the feed's buttons ---- */

function showPause(paused, held) {
    element("pause").setAttribute("aria-pressed", paused);
    element("pause").textContent = held ? `Paused, ${held.toLocaleString()} waiting` : "Pause";
}

element("pause").addEventListener("click", () => feed.togglePause());
element("clear").addEventListener("click", () => feed.clear());

/* ---- start ---- */

element("destination").textContent = destination;
element("server").textContent = location.host;
element("command").textContent = `stomp_cat ${url} \\\n    -d ${destination} -m 'Hello from C'`;
connection.start();
