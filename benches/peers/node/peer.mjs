// Node: FinalizationRegistry. See ../README.md.
import fs from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

const [kind, work, n, dead] = [process.argv[2], process.argv[3], +process.argv[4], +process.argv[5]];
const registers = kind !== 'none';

class Thing {
  constructor() {
    this.a = 0;
    this.b = 1;
    this.c = 2;
  }
}

let calls = 0;
let first = 0;
let last = 0;
let wanted = -1;
let done = () => {};
// Callbacks come on the event loop, so none runs while a collection is timed.
const registry = new FinalizationRegistry(() => {
  if (calls++ === 0) first = performance.now();
  if (calls === wanted) {
    last = performance.now();
    done();
  }
});

function expect(count) {
  calls = 0;
  wanted = count;
  return new Promise((resolve) => { done = resolve; });
}

const perObject = (milliseconds) => (milliseconds * 1e6) / n;

function timed(phases, name, body) {
  const begun = performance.now();
  body();
  phases[name] = perObject(performance.now() - begun);
}

// Small enough for a double: a linear congruence, from which the high half is taken.
function* shuffled(below) {
  let state = 12345;
  for (;;) {
    state = (state * 1103515245 + 12345) % 2147483648;
    yield Math.floor(state / 65536) % below;
  }
}

let keep = [];

function allocate() {
  for (let i = 0; i < n; i++) keep[i] = new Thing();
}

function register() {
  for (let i = 0; i < n; i++) registry.register(keep[i], i);
}

function drop() {
  const next = shuffled(100);
  let dropped = 0;
  for (let i = 0; i < n; i++) {
    if (next.next().value < dead) {
      keep[i] = undefined;
      dropped++;
    }
  }
  return dropped;
}

async function cycle() {
  const phases = {};
  keep = new Array(n);
  timed(phases, 'alloc', allocate);
  if (registers) timed(phases, 'register', register);
  await sleep(2);
  gc();
  await sleep(2);
  timed(phases, 'live', gc);
  await sleep(2);
  const dropped = drop();
  // Weak references are kept until the job that made them is over.
  await sleep(2);
  const all = expect(dropped);
  timed(phases, 'discover', gc);
  if (registers) {
    const from = performance.now();
    await all;
    phases.drain = perObject(last - Math.min(first, from + 1));
  }
  timed(phases, 'free', gc);
  keep = [];
  await sleep(2);
  if (registers && dropped < n) {
    const rest = expect(n - dropped);
    gc();
    await rest;
  }
  gc();
  return phases;
}

// Puts values into a random order, the same each time: two draws make a number that is large enough.
function shuffle(values) {
  const next = shuffled(32768);
  for (let last = values.length - 1; last > 0; last--) {
    const other = (next.next().value * 32768 + next.next().value) % (last + 1);
    [values[last], values[other]] = [values[other], values[last]];
  }
}

// Both in a random order if so said.
async function cancel(shuffles) {
  const phases = {};
  keep = new Array(n);
  allocate();
  if (shuffles) shuffle(keep);
  timed(phases, 'register', () => {
    for (let i = 0; i < n; i++) registry.register(keep[i], i, keep[i]);
  });
  if (shuffles) shuffle(keep);
  timed(phases, 'cancel', () => {
    for (let i = 0; i < n; i++) registry.unregister(keep[i]);
  });
  keep = [];
  await sleep(2);
  gc();
  return phases;
}

const random = () => cancel(true);

// Bytes of the process that are in memory.
const resident = () => fs.readFileSync('/proc/self/statm', 'latin1').split(' ')[1] * 4096;

async function memory() {
  const phases = {};
  keep = new Array(n);
  allocate();
  await sleep(2);
  gc();
  const small = resident();
  register();
  phases.memory = (resident() - small) / n;
  await sleep(2);
  const all = expect(n);
  keep.fill(undefined);
  await sleep(2);
  gc();
  phases.queued = (resident() - small) / n;
  await all;
  return phases;
}

class Node {
  constructor(left, right) {
    this.left = left;
    this.right = right;
    this.a = 0;
  }
}

// A tree of so many nodes.
function grow(nodes) {
  if (nodes === 0) return null;
  const below = nodes - 1;
  const half = below >> 1;
  const left = grow(half);
  return new Node(left, grow(below - half));
}

let kept = null;

async function tree() {
  const phases = {};
  timed(phases, 'alloc', () => { kept = grow(n); });
  await sleep(2);
  gc();
  timed(phases, 'live', gc);
  kept = null;
  await sleep(2);
  timed(phases, 'free', gc);
  return phases;
}

async function treeChurn() {
  const phases = {};
  kept = grow(n);
  const trees = Math.ceil((4 * n) / 127);
  const begun = performance.now();
  for (let i = 0; i < trees; i++) if (grow(127) === null) throw new Error('no tree');
  phases.churn = ((performance.now() - begun) * 1e6) / (127 * trees);
  kept = null;
  gc();
  return phases;
}

const works = { cycle, cancel: () => cancel(false), random, churn, memory, tree, 'tree-churn': treeChurn };

// Not in the asynchronous function, whose frame would keep the last object.
function churnSome(ring, from, to, steps) {
  let before = performance.now();
  for (let i = from; i < to; i++) {
    const thing = new Thing();
    if (registers) registry.register(thing, i);
    ring[i % ring.length] = thing;
    if (i % 100 === 99) {
      const now = performance.now();
      steps.push((now - before) * 1e6);
      before = now;
    }
  }
}

async function churn() {
  const phases = {};
  const steps = [];
  const window = Math.max(Math.floor(n / 10), 1);
  const all = expect(n);
  const begun = performance.now();
  let ring = new Array(window);
  for (let i = 0; i < n; i += 10000) {
    churnSome(ring, i, Math.min(i + 10000, n), steps);
    // Without a turn of the event loop now and then no callback would ever run.
    await new Promise(setImmediate);
  }
  phases.churn = perObject(performance.now() - begun);
  if (registers) phases.backlog = (100 * (n - window - calls)) / n;
  ring = undefined;
  while (registers && calls < n) {
    await sleep(1);
    gc();
  }
  if (registers) await all;
  steps.sort((a, b) => a - b);
  for (const [name, part] of [['p50', 0.5], ['p99', 0.99], ['p999', 0.999], ['max', 1]]) {
    phases[name] = steps[Math.floor((steps.length - 1) * part)];
  }
  return phases;
}

console.log(JSON.stringify({ version: `Node ${process.version} (V8 ${process.versions.v8})` }));
// Lines are asked for one at a time, so a read gives one.
const buffer = Buffer.alloc(64);
for (;;) {
  let length = 0;
  try {
    length = fs.readSync(0, buffer);
  } catch (error) {
    if (error.code !== 'EAGAIN') throw error;
    await sleep(1);
    continue;
  }
  if (length === 0) break;
  const lines = buffer.subarray(0, length).filter((byte) => byte === 10).length;
  for (let i = 0; i < lines; i++) {
    console.log(JSON.stringify(await works[work]()));
  }
}
