/* Support for the test of the web page: checks that are counted, processes that are ended, the two
   servers, stomp_cat, and a browser page that records errors. */

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

export const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
export const OUTPUT = path.join(ROOT, "build/web");
export const TOPIC = "/topic/notifications";
const SITE = path.join(OUTPUT, "site");
const VERSION = /STOMP_WS_VERSION "(.*)"/.exec(readFileSync(path.join(ROOT, "stomp_ws.h")))[1];
const CHROMIUM = "/usr/bin/chromium";
const CHECK_SECONDS = 90;

/* The npm packages are in build/web/driver. */
export const require = createRequire(path.join(OUTPUT, "driver/package.json"));

/* ---- checks ---- */

const results = { passed: 0, failed: 0 };

export async function check(name, test) {
    try {
        await within(CHECK_SECONDS, test());
        results.passed++;
        console.log(`ok      ${name}`);
    } catch (error) {
        results.failed++;
        console.log(`FAILED  ${name}\n${String(error.stack).replace(/^/gm, "        ")}`);
    }
}

/* Prints the last line, with the counts. */
export function report() {
    console.log(`${results.passed} passed, ${results.failed} failed`);
    process.exitCode = results.failed === 0 && results.passed > 0 ? 0 : 1;
}

function within(seconds, promise) {
    const deadline = new Promise((_, reject) => {
        const late = () => reject(new Error(`not done after ${seconds} s`));
        const timer = setTimeout(late, 1000 * seconds);
        promise.finally(() => clearTimeout(timer)).catch(() => {});
    });
    return Promise.race([promise, deadline]);
}

/* Repeats assertions until they are true. If they stay false, their last error is the failure. */
export async function eventually(assertions, seconds = 30) {
    const deadline = performance.now() + 1000 * seconds;
    for (;;) {
        try {
            return await assertions();
        } catch (error) {
            if (performance.now() > deadline) throw error;
            await sleep(50);
        }
    }
}

/* ---- processes ---- */

const alive = new Set();

export class Process {
    output = "";
    errors = "";

    constructor(command, options, { input = null, environment = {} } = {}) {
        this.name = path.basename(command);
        const env = { ...process.env, ...environment };
        this.child = spawn(command, options, { cwd: ROOT, env });
        this.child.stdout.setEncoding("utf8").on("data", (data) => { this.output += data; });
        this.child.stderr.setEncoding("utf8").on("data", (data) => { this.errors += data; });
        this.child.stdin.on("error", () => {}); // a program that has ended does not read its input
        this.child.stdin.end(input ?? "");
        this.ended = new Promise((resolve) => {
            this.child.on("error", (error) => resolve(error.message));
            this.child.on("close", (code, signal) => resolve(code ?? signal));
        }).finally(() => alive.delete(this));
        alive.add(this);
    }

    /* Waits until the program's output matches, and returns the output. */
    async printed(pattern, seconds = 30) {
        return eventually(() => {
            const found = pattern.exec(this.output + this.errors);
            assert.ok(found,
                `${this.name} printed no ${pattern}, but:\n${this.output}${this.errors}`);
            return found;
        }, seconds);
    }

    /* Returns its exit status, or the name of the signal that killed it. */
    async end(signal = "SIGTERM", seconds = 30) {
        this.child.kill(signal);
        return this.status(seconds);
    }

    async status(seconds = 30) {
        try {
            return await within(seconds, this.ended);
        } catch (error) {
            this.child.kill("SIGKILL");
            throw error;
        }
    }
}

export async function endAll() {
    await Promise.allSettled([...alive].map((process) => process.end()));
}

for (const [signal, status] of [["SIGINT", 130], ["SIGTERM", 143]]) {
    process.once(signal, async () => {
        await endAll();
        process.exit(status);
    });
}

/* ---- our programs ---- */

export function build() {
    execFileSync("make", ["-s", "build/mini_broker", "build/stomp_cat"], { cwd: ROOT });
    execFileSync("sh", ["tests/web/build.sh"], { cwd: ROOT });
}

export function startCat(url, options, input) {
    return new Process("build/stomp_cat", [url, ...options], { input });
}

/* Publishes as a C program would: one message, or one message per line if the options lack -m. */
export async function publish(server, options, input) {
    const cat = startCat(server.url, ["-d", TOPIC, "-t", "60", ...options], input);
    assert.equal(await cat.status(), 0, cat.errors);
}

/* ---- servers ---- */

/* Below the ports that the kernel gives to clients, so a server can use the same port again. */
async function freePort() {
    for (;;) {
        const port = 20000 + Math.floor(12768 * Math.random());
        const probe = createServer();
        const listening = await new Promise((resolve) => {
            probe.once("error", () => resolve(false));
            probe.listen(port, "127.0.0.1", () => resolve(true));
        });
        if (!listening) continue;
        await new Promise((resolve) => { probe.close(resolve); });
        return port;
    }
}

class Server {
    scheme = "ws";

    get url() { return `${this.scheme}://127.0.0.1:${this.port}/notifications/websocket`; }
    get page() { return `${this.scheme.replace("ws", "http")}://127.0.0.1:${this.port}/`; }

    async start() {
        this.port ??= await freePort();
        this.process = this.spawn();
        await this.process.printed(/READY/, 120); // Maven may have to build Spring first
    }

    async stop() {
        await this.process.end();
    }
}

export class MiniBroker extends Server {
    name = "mini broker";
    connected = `to mini-broker/${VERSION}, STOMP 1.2`;

    spawn() {
        return new Process("build/mini_broker", ["--port", this.port, "--files", SITE, "--quiet"]);
    }
}

export class Spring extends Server {
    connected = "to a broker without a name, STOMP 1.2";

    /* tls: two files, the certificate and the key. */
    constructor(tls) {
        super();
        this.tls = tls ? ["--tls", ...tls] : [];
        this.scheme = tls ? "wss" : "ws";
        this.name = tls ? "Spring over TLS" : "Spring";
    }

    spawn() {
        return new Process("python3", ["tests/interop/broker.py", "start", "spring",
            "--port", this.port, "--static", SITE, ...this.tls]);
    }
}

/* A self-signed certificate for 127.0.0.1. */
export function makeCertificate() {
    const files = ["certificate.pem", "key.pem"].map((name) => path.join(OUTPUT, name));
    execFileSync("openssl", ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
        "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
        "-out", files[0], "-keyout", files[1]], { stdio: "pipe" });
    return files;
}

/* ---- the browser ---- */

export async function launchBrowser() {
    return require("playwright-core").chromium.launch({
        executablePath: CHROMIUM,
        args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync"],
    });
}

/* The page in a browser window of its own. `troubles` collects errors of the console, of scripts
   and of requests, except refused connections during an outage that the test causes. */
export class View {
    troubles = [];
    responses = new Map();
    outage = false;

    static async open(browser, server, options = {}) {
        const view = new View();
        const viewport = { width: 1200, height: 900 };
        const context = await browser.newContext({ viewport, ...options });
        view.server = server;
        view.page = await context.newPage();
        view.#listen();
        await view.page.goto(server.page);
        return view;
    }

    #listen() {
        const note = (trouble) => this.troubles.push(trouble);
        this.page.on("pageerror", (error) => note(error.stack));
        this.page.on("requestfailed", (request) => note(`${request.url()} failed`));
        this.page.on("response", (response) => {
            this.responses.set(new URL(response.url()).pathname, response.status());
        });
        this.page.on("console", (message) => {
            const refused = `WebSocket connection to '${this.server.url}' failed: `;
            const isOurs = this.outage && message.text().startsWith(refused);
            if (/error|warning/.test(message.type()) && !isOurs) note(message.text());
        });
    }

    text(selector) { return this.page.locator(selector).innerText(); }
    texts() { return this.page.locator("#list .text").allInnerTexts(); }
    async number(selector) { return Number((await this.text(selector)).replace(/\D/g, "")); }

    async isConnected(seconds = 30) {
        await eventually(async () => {
            assert.equal(await this.text("#state"), "Connected");
            assert.equal(await this.text("#detail"), this.server.connected);
        }, seconds);
    }

    /* Returns the newest item with this text. */
    async item(text, seconds = 30) {
        return eventually(async () => {
            const texts = await this.texts();
            const index = texts.indexOf(text);
            assert.ok(index >= 0, `the page does not show ${JSON.stringify(text)}, but ` +
                JSON.stringify(texts.slice(0, 10)));
            return this.page.locator("#list li").nth(index);
        }, seconds);
    }

    /* Returns the heights of the chart's bars. The current second is last. */
    bars() {
        return this.page.locator("#chart rect").evaluateAll((bars) =>
            bars.map((bar) => Number(bar.getAttribute("height"))));
    }

    async close() {
        await this.page.context().close();
    }
}
