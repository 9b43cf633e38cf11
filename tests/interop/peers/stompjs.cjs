// @stomp/stompjs in node, with the ws package. It reads and writes the lines that other_clients.py
// describes. Its arguments are the URL, login and passcode.
'use strict';

const readline = require('node:readline');
const { Client } = require('@stomp/stompjs');
const { WebSocket } = require('ws');

const [url, login, passcode] = process.argv.slice(2);

const decode = decodeURIComponent;
const encode = (text) => encodeURIComponent(text);
const encodeBytes = (bytes) =>
  Array.from(bytes, (byte) => '%' + byte.toString(16).padStart(2, '0')).join('');
const decodeBytes = (word) =>
  Uint8Array.from(word.match(/%..|./g) || [], (part) =>
    part.length === 1 ? part.charCodeAt(0) : parseInt(part.slice(1), 16));

// A text is sent as a string, as users do. Only a body that is not text is sent as bytes.
function content(bytes) {
  try {
    return { body: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes) };
  } catch {
    return { binaryBody: bytes };
  }
}

function printMessage(message) {
  const words = ['message', encodeBytes(message.binaryBody)];
  for (const [name, value] of Object.entries(message.headers)) {
    words.push(encode(name), encode(value));
  }
  console.log(words.join(' '));
}

function run(line) {
  const [command, destination, body, ...rest] = line.split(' ');
  if (command === 'subscribe') {
    client.subscribe(decode(destination), printMessage);
    return;
  }
  const headers = {};
  for (let i = 0; i + 1 < rest.length; i += 2) headers[decode(rest[i])] = decode(rest[i + 1]);
  client.publish({ destination: decode(destination), headers, ...content(decodeBytes(body)) });
}

const client = new Client({
  webSocketFactory: () => new WebSocket(url, ['v12.stomp', 'v11.stomp', 'v10.stomp']),
  connectHeaders: { login, passcode },
  reconnectDelay: 0,
  // Frames over 8 KiB are split. Spring needs that, but ActiveMQ does not support it, so other
  // frames stay whole.
  splitLargeFrames: true,
  maxWebSocketChunkSize: 8 * 1024,
  onStompError: (frame) => console.log('error', encode(frame.headers.message + frame.body)),
  onWebSocketClose: (event) => console.log('error', encode(`closed ${event.code}`)),
  onConnect: () => {
    console.log('connected');
    const input = readline.createInterface({ input: process.stdin });
    input.on('line', run);
    input.on('close', async () => {
      await client.deactivate();
      process.exit(0);
    });
  },
});
client.activate();
