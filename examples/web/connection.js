/* A STOMP connection that reconnects by itself.

   stompjs can reconnect, too, but does not tell when. This page shows a countdown and a button
   "Try now", so it needs its own timer. */

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;
const STABLE_MS = 5_000; // after a session of this length, the next wait is the first wait again
const CONNECT_MS = 10_000;

export class Connection {
    #client;
    #destination;
    #onState;
    #onMessage;
    #wait = FIRST_WAIT_MS;
    #timer = null;
    #connectedAt = null;
    #error = null; // the text of the broker's ERROR, until the connection is closed

    /* onState is called with {name: "connecting"}, {name: "connected", server, version} or
       {name: "waiting", reason, until}; until is a time of performance.now(). onMessage is called
       with each MESSAGE frame. */
    constructor({ url, destination, onState, onMessage }) {
        this.#destination = destination;
        this.#onState = onState;
        this.#onMessage = onMessage;
        this.#client = new StompJs.Client({
            brokerURL: url,
            reconnectDelay: 0,
            connectionTimeout: CONNECT_MS,
            discardWebsocketOnCommFailure: true, // do not wait for a peer that cannot answer
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

    /* Ends a wait and connects now. Does nothing in other states. */
    retry() {
        if (this.#timer === null) return;
        clearTimeout(this.#timer);
        this.start();
    }

    /* Sends now, if connected. Returns false if not: nothing is kept for the next connection. */
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
        this.#client.deactivate(); // takes no time, because the socket is closed
        this.#retryLater(reason);
    }

    #retryLater(reason) {
        // A random part, so that not all pages connect at the same moment.
        const wait = this.#wait * (0.8 + 0.2 * Math.random());
        this.#wait = Math.min(2 * this.#wait, LONGEST_WAIT_MS);
        this.#timer = setTimeout(() => this.start(), wait);
        this.#onState({ name: "waiting", reason, until: performance.now() + wait });
    }

    #reason({ code, reason }) {
        if (this.#error !== null) return `the broker sent the error “${this.#error}”`;
        if (this.#connectedAt === null) return "the server could not be reached";
        if (reason) return `the server closed the connection: “${reason}”`;
        return code === 1006 ? "the connection was lost" : `the server closed it with code ${code}`;
    }
}
