/* Tests the web page of examples/web in headless Chromium. The mini broker and a Spring Boot
   application serve it, and stomp_cat is the C program at the other end.

       sh tests/web/install.sh && node tests/web/test_web.mjs

   Writes pictures of the page to build/web. */

import assert from "node:assert/strict";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
    MiniBroker, OUTPUT, Process, Spring, TOPIC, View, build, check, endAll, eventually,
    launchBrowser, makeCertificate, publish, report, require, startCat,
} from "./support.mjs";

const LONGEST_LIST = 100; // for the page
const PICTURE_SECONDS = 50; // until its chart has enough data

/* ---- checks with each server ---- */

async function loads(view) {
    assert.equal(await view.page.title(), "Notifications");
    await view.isConnected();
    for (const file of ["/", "/app.js", "/stomp.umd.min.js", "/style.css", "/icon.svg"]) {
        assert.equal(view.responses.get(file), 200, file);
    }
    await view.page.evaluate(() => document.fonts.ready);
    assert.ok(await view.page.evaluate(() => document.fonts.check('1rem "Inter Variable"')));
    assert.deepEqual([...view.responses].filter(([, status]) => status >= 400), []);
}

async function showsWhatCSends(view) {
    const text = "From C: Grüße, 3,50 €, 通知";
    const before = Date.now();
    await publish(view.server, ["-m", text, "-H", "level:warning", "-H", "from:stomp_cat"]);
    const item = await view.item(text);
    assert.equal(await item.getAttribute("data-level"), "warning");
    assert.equal(await item.locator(".origin span").innerText(), "stomp_cat");
    const time = item.locator("time");
    const at = Date.parse(await time.getAttribute("datetime"));
    assert.ok(at >= before && at <= Date.now());
    assert.match(await time.innerText(), /^\d\d:\d\d:\d\d$/);
    assert.equal(await view.number("#total"), 1);
}

async function showsTheNewestFirst(view) {
    await publish(view.server, [], "older\nnewer\n");
    await eventually(async () => {
        assert.deepEqual((await view.texts()).slice(0, 2), ["newer", "older"]);
    });
}

/* Makes the page send until C has received the message, because Spring does not confirm
   subscriptions. */
async function sendUntilHeard(view, cat, send) {
    await cat.printed(/> SUBSCRIBE/);
    let hasEnded = false;
    cat.ended.then(() => { hasEnded = true; });
    for (let tries = 0; tries < 8 && !hasEnded; tries++) {
        await send();
        await Promise.race([cat.ended, sleep(1000)]);
    }
    assert.equal(await cat.status(30), 0, cat.errors);
    const message = JSON.parse(cat.output);
    return { ...message, headers: Object.fromEntries(message.headers.reverse()) };
}

const LISTEN = ["-s", TOPIC, "-n", "1", "-t", "60", "--json", "--trace"];

async function sendsToC(view) {
    const text = 'From the page: "quotes", \\n, a:b, Ünïcödé, 通知';
    const cat = startCat(view.server.url, LISTEN);
    const message = await sendUntilHeard(view, cat, async () => {
        await view.page.getByLabel("Text").fill(text);
        await view.page.getByRole("radio", { name: "Warning" }).check();
        await view.page.getByRole("button", { name: "Send" }).click();
        assert.equal(await view.page.getByLabel("Text").inputValue(), "");
    });
    assert.equal(message.destination, TOPIC);
    assert.equal(message.body, text);
    assert.equal(message.headers.level, "warning");
    assert.equal(message.headers.from, "web page");
    assert.equal(message.headers["content-type"], "text/plain");
    const item = await view.item(text);
    assert.equal(await item.getAttribute("data-level"), "warning");
}

async function sendsFromTheKeyboard(view) {
    const cat = startCat(view.server.url, LISTEN);
    const message = await sendUntilHeard(view, cat, async () => {
        await view.page.getByLabel("Text").fill("");
        await view.page.getByLabel("Text").focus();
        await view.page.keyboard.type("one line");
        await view.page.keyboard.press("Shift+Enter");
        await view.page.keyboard.type("and another");
        await view.page.keyboard.press("Enter");
    });
    assert.equal(message.body, "one line\nand another");
}

async function showsHtmlAsText(view) {
    const text = "<img src=x onerror='hacked = 1'><b>bold</b> &amp; <script>hacked = 1</script>";
    await publish(view.server, ["-m", text, "-H", "from:<i>me</i>", "-H", "level:x\" onclick=\"y"]);
    const item = await view.item(text);
    assert.equal(await item.locator(".origin span").innerText(), "<i>me</i>");
    assert.equal(await item.getAttribute("data-level"), "info");
    assert.equal(await view.page.locator("#list :is(img, b, i, script)").count(), 0);
    assert.equal(await view.page.evaluate(() => window.hacked), undefined);
}

async function bearsBursts(view) {
    const lines = Array.from({ length: 200 }, (_, index) => `burst ${index + 1}`);
    const total = await view.number("#total");
    await publish(view.server, [], `${lines.join("\n")}\n`);
    await eventually(async () => assert.equal(await view.number("#total"), total + 200));
    await eventually(async () => {
        assert.deepEqual(await view.texts(), lines.slice(-LONGEST_LIST).reverse());
    });
    assert.ok(await view.number("#peak") >= 20);
}

async function movesTheChart(view) {
    const highest = async () => {
        const bars = await view.bars(); // from one moment: in the next second they move
        const height = Math.max(...bars);
        return { height, place: bars.indexOf(height) };
    };
    const label = () => view.page.getByRole("img", { name: /^In the last minute: / });
    const before = await highest();
    assert.ok(before.height > 50, "the burst fills much of the chart's height");
    const total = await view.number("#total");
    assert.match(await label().getAttribute("aria-label"), new RegExp(` ${total} in all$`));
    await eventually(async () => assert.ok((await highest()).place <= before.place - 2));
}

async function pausesAndClears(view) {
    const button = (name) => view.page.getByRole("button", { name });
    await button("Clear").click();
    assert.deepEqual(await view.texts(), []);
    assert.ok(await view.page.getByText("Nothing has arrived yet").isVisible());
    await button("Pause").click();
    await publish(view.server, [], "held 1\nheld 2\n");
    await button("Paused, 2 waiting").click();
    await eventually(async () => assert.deepEqual(await view.texts(), ["held 2", "held 1"]));
    assert.equal(await view.page.getByText("Nothing has arrived yet").isVisible(), false);
}

async function tellsScreenReaders(view) {
    await publish(view.server, ["-m", "Dinner is ready"]);
    await eventually(async () => assert.match(await view.text("#announcement"),
        /^(Dinner is ready|\d+ new notifications)$/));
    for (const colorScheme of ["light", "dark"]) {
        await view.page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
        await view.page.evaluate(require("axe-core").source);
        const { violations, passes } = await view.page.evaluate(() => window.axe.run());
        assert.deepEqual(violations.map(({ id, nodes }) =>
            `${id}: ${nodes.map((node) => node.html).join(" ")}`), [], colorScheme);
        assert.ok(passes.some(({ id }) => id === "color-contrast"));
    }
    await view.page.emulateMedia({ colorScheme: null, reducedMotion: null });
}

async function fitsNarrowScreens(view) {
    const size = view.page.viewportSize();
    await publish(view.server, ["-m", "long".repeat(100), "-H", `from:${"far".repeat(30)}`]);
    await view.item("long".repeat(100));
    for (const width of [320, 600, 1000]) {
        await view.page.setViewportSize({ width, height: 800 });
        const needed = await view.page.evaluate(() => document.documentElement.scrollWidth);
        assert.equal(needed, width);
    }
    await view.page.setViewportSize(size);
}

/* Returns the texts of the countdown, until it has at least this many seconds. */
async function watchCountdown(view, seconds) {
    const seen = new Set();
    await eventually(async () => {
        const text = await view.text("#detail");
        const [, left] = /^in (\d+) s, because the \S/.exec(text) ?? [];
        if (left) seen.add(text);
        assert.ok(Number(left) >= seconds, `the countdown says: ${[...seen].join("; ")}`);
    }, 30);
    return seen;
}

async function comesBack(view) {
    const send = view.page.getByRole("button", { name: "Send" });
    view.outage = true;
    await view.server.stop();
    await eventually(async () => assert.equal(await view.text("#state"), "Reconnecting"));
    assert.ok(await send.isDisabled());
    await view.page.getByLabel("Text").fill("A draft");
    await view.page.keyboard.press("Enter");
    assert.equal(await view.page.getByLabel("Text").inputValue(), "A draft");
    assert.ok((await watchCountdown(view, 2)).size >= 2);

    await view.server.start();
    await view.isConnected();
    view.outage = false;
    await publish(view.server, ["-m", "The first after the restart"]);
    await view.item("The first after the restart");
    await send.click();
    await view.item("A draft");
}

async function triesWhenAsked(view) {
    view.outage = true;
    await view.server.stop();
    // Longer than a server takes to start, so that the page does not reconnect by itself before.
    await watchCountdown(view, 11);
    await view.server.start();
    await view.page.getByRole("button", { name: "Try now" }).click();
    await view.isConnected(5);
    view.outage = false;
    await publish(view.server, ["-m", "After trying"]);
    await view.item("After trying");
}

async function hadNoTrouble(view) {
    assert.deepEqual(view.troubles, []);
}

const CHECKS = {
    "the page loads and connects": loads,
    "messages from C appear": showsWhatCSends,
    "the newest message is on top": showsTheNewestFirst,
    "C receives what the form sends": sendsToC,
    "Enter sends; Shift and Enter makes a new line": sendsFromTheKeyboard,
    "HTML is shown as text": showsHtmlAsText,
    "200 messages at once": bearsBursts,
    "the chart moves": movesTheChart,
    "pause and clear": pausesAndClears,
    "screen readers announce new messages; axe finds no error": tellsScreenReaders,
    "it fits narrow screens": fitsNarrowScreens,
    "it reconnects when the server is back, and keeps the draft": comesBack,
    "it tries immediately when requested": triesWhenAsked,
    "no errors in the console": hadNoTrouble,
};

/* Clean-up is a part of each run. A server that does not end is a failure. */
async function run(browser, server, checks, options = {}) {
    let view = null;
    await check(`${server.name}: serves the page`, async () => {
        await server.start();
        view = await View.open(browser, server, options);
    });
    if (view) {
        for (const [name, test] of Object.entries(checks)) {
            await check(`${server.name}: ${name}`, () => test(view));
        }
        await view.close();
    }
    if (server.process) await check(`${server.name}: ends`, () => server.stop());
}

/* ---- TLS: the page uses wss:// if it was loaded by https:// ---- */

async function talksOverTls(view) {
    await view.isConnected();
    await view.page.getByLabel("Text").fill("Over TLS");
    await view.page.getByRole("button", { name: "Send" }).click();
    await view.item("Over TLS");
    assert.match(await view.text("#command"), /^stomp_cat wss:/);
}

const TLS_CHECKS = {
    "the page receives its own messages": talksOverTls,
    "no errors in the console": hadNoTrouble,
};

/* ---- the demo, and pictures of it ---- */

class Demo {
    name = "demo";
    connected = new MiniBroker().connected;

    constructor(environment = {}) {
        this.process = new Process("tests/web/demo.sh", [], { environment });
    }

    async started() {
        [, this.page] = await this.process.printed(/^The page: (http:\S+)$/m, 60);
        this.url = `${this.page.replace("http", "ws")}notifications/websocket`;
    }
}

const PICTURES = {
    "notifications.png": { colorScheme: "light" },
    "notifications-dark.png": { colorScheme: "dark" },
    "notifications-narrow.png": { colorScheme: "light", viewport: { width: 390, height: 844 } },
};

async function openForPictures(browser, demo) {
    await demo.started();
    const views = [];
    for (const options of Object.values(PICTURES)) {
        views.push(await View.open(browser, demo, { deviceScaleFactor: 2, ...options }));
    }
    for (const view of views) await view.isConnected();
    return views;
}

async function takePictures(views) {
    for (const [index, name] of Object.keys(PICTURES).entries()) {
        const view = views[index];
        await view.isConnected();
        assert.ok(await view.number("#total") >= 30);
        assert.ok((await view.bars()).filter((height) => height > 0).length >= 15);
        await view.page.screenshot({ path: path.join(OUTPUT, name), animations: "disabled" });
        await hadNoTrouble(view);
    }
}

async function endsInTime() {
    const demo = new Demo({ DEMO_SECONDS: "6" });
    await demo.started();
    const began = performance.now();
    assert.equal(await demo.process.status(60), 0, demo.process.errors);
    assert.ok(performance.now() - began > 2000);
    await assert.rejects(fetch(demo.page), "its broker has ended");
}

/* ---- the whole test ---- */

let browser = null;
await check("everything is built", async () => build());
await check("Chromium starts", async () => { browser = await launchBrowser(); });
if (browser) {
    // While the demo fills the chart, the other checks run.
    const demo = new Demo();
    const began = performance.now();
    let views = [];
    await check("demo: shows its page", async () => {
        views = await openForPictures(browser, demo);
    });

    await run(browser, new MiniBroker(), CHECKS);
    await run(browser, new Spring(), CHECKS);
    await run(browser, new Spring(makeCertificate()), TLS_CHECKS, { ignoreHTTPSErrors: true });

    await sleep(Math.max(0, 1000 * PICTURE_SECONDS - (performance.now() - began)));
    await check("demo: pictures of it", () => takePictures(views));
    await check("demo: Ctrl-C ends it", async () => {
        assert.equal(await demo.process.end("SIGINT"), 130, demo.process.errors);
        await assert.rejects(fetch(demo.page));
    });
    await check("demo: ends after DEMO_SECONDS", endsInTime);
    await browser.close();
}
await endAll();
report();
