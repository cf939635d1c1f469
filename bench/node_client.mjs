// What a user would write today: http.Agent with keep-alive and a pool of
// loops.
//
// node_client.mjs URL INPUT.jsonl OUTPUT.jsonl CONCURRENCY

import fs from 'node:fs';
import http from 'node:http';

const [url, source, target, concurrency] = process.argv.slice(2);
const agent = new http.Agent({ keepAlive: true, maxSockets: +concurrency });
const lines = fs.readFileSync(source, 'utf8').trimEnd().split('\n');
const out = fs.createWriteStream(target);

function post(body) {
    return new Promise((resolve, reject) => {
        const r = http.request(url, {
            agent, method: 'POST', headers: {
                'content-type': 'application/json',
                'content-length': Buffer.byteLength(body),
            },
        }, (answer) => {
            let text = '';
            answer.setEncoding('utf8');
            answer.on('data', (piece) => { text += piece; });
            answer.on('end', () => resolve([answer.statusCode, text]));
        });
        r.on('error', reject);
        r.end(body);
    });
}

let next = 0;
let good = 0;

async function loop() {
    while (next < lines.length) {
        const request = JSON.parse(lines[next++]);
        const [status, text] = await post(JSON.stringify(request.body));
        out.write(JSON.stringify({
            custom_id: request.custom_id,
            response: { status_code: status, body: JSON.parse(text) },
        }) + '\n');
        good += status === 200;
    }
}

await Promise.all(Array.from({ length: +concurrency }, loop));
await new Promise((resolve) => out.end(resolve));
agent.destroy();
console.log(good);
