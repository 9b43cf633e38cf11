// @stomp/stompjs in node, on ws.
'use strict';

const { parseArgs } = require('node:util');
const { Client } = require('@stomp/stompjs');
const { WebSocket } = require('ws');

const { values } = parseArgs({
  options: {
    url: { type: 'string' },
    mode: { type: 'string', default: 'burst' },
    count: { type: 'string', default: '1000' },
    size: { type: 'string', default: '64' },
  },
});
const count = Number(values.count);
const body = 'x'.repeat(Number(values.size));
const MOST_BUFFERED = 1 << 20;

const times = [];
let messages = 0;
let checksum = 0;
let began = 0;
let sent = 0;

const now = () => performance.now() / 1000;
const percentile = (share) =>
  times.length ? times[Math.floor((count * share) / 1000)] * 1e6 : 0;

function report() {
  const secs = now() - began;
  times.sort((a, b) => a - b);
  console.log(
    JSON.stringify({
      msgs: messages,
      secs,
      p50_us: percentile(500),
      p99_us: percentile(990),
      p999_us: percentile(999),
    }),
  );
  process.exit(0);
}

function read(message) {
  messages += 1;
  checksum += message.body.length + message.headers['message-id'].length;
}

function ping() {
  sent = now();
  client.publish({ destination: '/topic/echo', body });
}

// ws queues without a limit, so the loop pauses when much data is waiting.
function pour() {
  while (messages < count) {
    if (client.webSocket.bufferedAmount > MOST_BUFFERED) return void setImmediate(pour);
    client.publish({ destination: '/topic/sink', body });
    messages += 1;
  }
}

const modes = {
  burst() {
    client.subscribe('/topic/bench', (message) => {
      if (began === 0) began = now();
      if (message.headers.destination === '/topic/end') report();
      else read(message);
    });
  },
  sink() {
    client.subscribe('/topic/end', report);
    began = now();
    pour();
  },
  pingpong() {
    client.subscribe('/topic/echo', (message) => {
      times.push(now() - sent);
      read(message);
      if (messages === count) report();
      else ping();
    });
    began = now();
    ping();
  },
};

const client = new Client({
  webSocketFactory: () => new WebSocket(values.url, ['v12.stomp', 'v11.stomp', 'v10.stomp']),
  reconnectDelay: 0,
  onConnect: modes[values.mode],
  onWebSocketClose: () => process.exit(1),
});
client.activate();
