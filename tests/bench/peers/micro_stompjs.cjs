// The measurement of bench_micro.c for parsing, with the parser of @stomp/stompjs.
'use strict';

const { Parser } = require('@stomp/stompjs');

const ROUNDS = 200;
const TIMES = 64;
const USUAL = [
  ['destination', '/topic/bench'],
  ['message-id', 'session-1234-0000001'],
  ['subscription', 'sub-1'],
  ['content-type', 'text/plain;charset=utf-8'],
  ['timestamp', '1700000000000'],
  ['priority', '4'],
];

function makeFrame(headerCount) {
  let text = 'MESSAGE\n';
  for (let i = 0; i < headerCount; i += 1) {
    const [name, value] = USUAL[i] || [`x-application-${i}`, 'some value of 24 bytes..'];
    text += `${name}:${value}\n`;
  }
  return new TextEncoder().encode(`${text}content-length:64\n\n${'x'.repeat(64)}\0`).buffer;
}

function measure(headerCount) {
  const frame = makeFrame(headerCount);
  let frames = 0;
  let best = Infinity;
  const parser = new Parser(
    () => {
      frames += 1;
    },
    () => {},
  );
  for (let round = 0; round < ROUNDS; round += 1) {
    const began = process.hrtime.bigint();
    for (let i = 0; i < TIMES; i += 1) parser.parseChunk(frame);
    best = Math.min(best, Number(process.hrtime.bigint() - began) / TIMES);
  }
  if (frames !== ROUNDS * TIMES) throw new Error('a frame was not parsed');
  console.log(JSON.stringify({ name: `parse ${headerCount}`, ns: best }));
}

[2, 6, 20].forEach(measure);
