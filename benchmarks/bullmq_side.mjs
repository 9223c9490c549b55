// BullMQ's side of the benchmarks: `node bullmq_side.mjs PORT add JOBS | pause TRIALS`.
// Prints one JSON object on its last line.
import { Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';

const [port, what, number] = process.argv.slice(2);
const connection = new Redis(Number(port), '127.0.0.1', { maxRetriesPerRequest: null });
const queue = new Queue('bench', { connection });
const now = () => Number(process.hrtime.bigint()) / 1e9;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function add(jobs) {
  await queue.add('nothing', { number: 0 });
  const began = now();
  for (let each = 0; each < jobs; each += 1) await queue.add('nothing', { number: each });
  return { per_second: jobs / (now() - began) };
}

// How many jobs start after `queue.pause()` has returned, and the last of them how late?
async function pause(trials) {
  const starts = [];
  const worker = new Worker('bench', async () => { starts.push(now()); await sleep(1); },
    { connection, concurrency: 2 });
  const late = [];
  const took = [];
  for (let trial = 0; trial < trials; trial += 1) {
    await queue.addBulk(Array.from({ length: 200 }, () => ({ name: 'nothing', data: {} })));
    const before = starts.length;
    while (starts.length < before + 5) await sleep(1);
    const began = now();
    await queue.pause();
    const at = now();
    took.push(at - began);
    await sleep(60);
    late.push(starts.filter((start) => start > at).map((start) => start - at));
    await queue.drain();
    await queue.resume();
  }
  await worker.close();
  const all = late.flat();
  return {
    trials_with_starts: late.filter((each) => each.length > 0).length,
    starts: all.length,
    last: all.length ? Math.max(...all) : 0,
    took: took.sort((one, other) => one - other)[Math.floor(took.length / 2)],
  };
}

const result = what === 'add' ? await add(Number(number)) : await pause(Number(number));
await queue.close();
console.log(JSON.stringify(result));
process.exit(0);
