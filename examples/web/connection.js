/* A STOMP connection that comes back by itself.

   stompjs can reconnect too, but does not tell when it will; a page that shows a countdown and has
   a button "Try now" keeps that time itself. */

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;
const STABLE_MS = 5_000; // a session that lasted so long was a good one: waiting starts over
const CONNECT_MS = 10_000;

export class Connection {
    #client;
    #destination;
    #onState;
    #onMessage;
    #wait = FIRST_WAIT_MS;
    #timer = null;
    #connectedAt = null;
    #error = null; // what the broker's ERROR said, before it closes

    /* onState gets {name: "connecting"}, {name: "connected", server, version} or {name: "waiting",
       reason, until}, the latter on the clock of performance.now(). onMessage gets frames. */
    constructor({ url, destination, onState, onMessage }) {
        this.#destination = destination;
        this.#onState = onState;
        this.#onMessage = onMessage;
        this.#client = new StompJs.Client({
            brokerURL: url,
            reconnectDelay: 0,
            connectionTimeout: CONNECT_MS,
            discardWebsocketOnCommFailure: true, // a dead network never answers a close
            onConnect: (frame) => this.#connected(frame),
            onStompError: (frame) => { this.#error = frame.headers.message || frame.body; },
            onWebSocketClose: (event) => this.#closed(event),
        });
    }

    start() {
        this.#timer = null;
        this.#onState({ name: "connecting" });
        this.#client.activate();
    }

    /* Cuts a wait short; does nothing otherwise. */
    retry() {
        if (this.#timer === null) return;
        clearTimeout(this.#timer);
        this.start();
    }

    /* Whether it went out: nothing waits for the next connection. */
    send(body, headers) {
        if (!this.#client.connected) return false;
        this.#client.publish({
            destination: this.#destination,
            headers: { "content-type": "text/plain", ...headers },
            body,
        });
        return true;
    }

    #connected(frame) {
        this.#connectedAt = performance.now();
        this.#client.subscribe(this.#destination, this.#onMessage);
        this.#onState({
            name: "connected",
            server: frame.headers.server,
            version: this.#client.connectedVersion,
        });
    }

    #closed(event) {
        const reason = this.#reason(event);
        if (this.#connectedAt !== null && performance.now() - this.#connectedAt > STABLE_MS) {
            this.#wait = FIRST_WAIT_MS;
        }
        this.#connectedAt = this.#error = null;
        this.#client.deactivate(); // done at once, as the socket is closed
        this.#retryLater(reason);
    }

    #retryLater(reason) {
        const wait = this.#wait * (0.8 + 0.2 * Math.random()); // not all pages at the same moment
        this.#wait = Math.min(2 * this.#wait, LONGEST_WAIT_MS);
        this.#timer = setTimeout(() => this.start(), wait);
        this.#onState({ name: "waiting", reason, until: performance.now() + wait });
    }

    #reason({ code, reason }) {
        if (this.#error !== null) return `the broker said “${this.#error}”`;
        if (this.#connectedAt === null) return "the server could not be reached";
        if (reason) return `the server closed with “${reason}”`;
        return code === 1006 ? "the connection broke" : `the server closed (code ${code})`;
    }
}
