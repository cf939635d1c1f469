// The official Node SDK against the module: sdk.mjs BASE_URL DIRECTORY PORT SECRET
//
// TAP on standard output.  The directory takes the files that are uploaded; the
// module's webhooks come to the port of 127.0.0.1, signed with the secret.

import crypto from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import OpenAI, { toFile } from 'openai';

const [baseURL, dir, port, secret] = process.argv.slice(2);

// without retries, so that every error is seen
const client = new OpenAI({ baseURL, apiKey: 'e2e', maxRetries: 0 });

let count = 0;
let failed = 0;

function ok(good, name, detail) {
    count++;
    if (!good) failed++;
    console.log(`${good ? 'ok' : 'not ok'} ${count} - ${name}`);
    if (!good && detail !== undefined) {
        console.log('# ' + JSON.stringify(detail).slice(0, 1000));
    }
}

function is(got, want, name) {
    ok(got === want, name, { got, want });
}

async function refused(promise, status, name) {
    try {
        ok(false, name, await promise);
    } catch (e) {
        ok(e.status === status && typeof e.error?.message === 'string',
           `${name}: ${status}`, { status: e.status, error: e.error });
    }
}

function jsonl(n, mock) {
    let text = '';

    for (let i = 1; i <= n; i++) {
        text += JSON.stringify({
            custom_id: `line-${i}`, method: 'POST',
            url: '/v1/chat/completions',
            body: { model: 'm1', mock,
                    messages: [{ role: 'user', content: `Zeile № ${i}` }] },
        }) + '\n';
    }

    return text;
}

const end = new Set(['completed', 'failed', 'expired', 'cancelled']);

async function finished(id) {
    for (let i = 0; i < 600; i++) {
        const batch = await client.batches.retrieve(id);
        if (end.has(batch.status)) return batch;
        await new Promise((r) => setTimeout(r, 50));
    }

    throw new Error(`${id} does not end`);
}

function create(file, extra) {
    return client.batches.create({ input_file_id: file.id,
        endpoint: '/v1/chat/completions', completion_window: '24h',
        ...extra });
}


async function files() {
    const name = path.join(dir, 'entrée "1".jsonl');
    fs.writeFileSync(name, jsonl(20));

    const streamed = await client.files.create({
        file: fs.createReadStream(name), purpose: 'batch' });

    is(streamed.object, 'file', 'a stream without a length is taken');
    is(streamed.bytes, fs.statSync(name).size, 'all its bytes are counted');
    is(streamed.purpose, 'batch', 'its purpose, sent after it, is known');
    is(streamed.filename, path.basename(name), 'its name, quotes and all');

    const now = Date.now() / 1000;
    const buffered = await client.files.create({
        file: await toFile(Buffer.from(jsonl(5)), 'b.jsonl'),
        purpose: 'batch',
        expires_after: { anchor: 'created_at', seconds: 3600 },
    });

    is(buffered.filename, 'b.jsonl', 'a buffer is taken');
    ok(Math.abs(buffered.expires_at - now - 3600) < 60,
       'expires_after counts from now', buffered);

    is((await client.files.retrieve(buffered.id)).id, buffered.id,
       'files.retrieve');

    const back = await client.files.content(streamed.id);
    is(await back.text(), jsonl(20), 'files.content gives what was sent');

    const seen = [];
    for await (const f of client.files.list({ limit: 1 })) seen.push(f.id);
    ok(seen.includes(streamed.id) && seen.includes(buffered.id)
       && new Set(seen).size === seen.length,
       'files.list pages through all, each once', seen);

    const gone = await client.files.delete(buffered.id);
    ok(gone.deleted === true && gone.id === buffered.id, 'files.delete', gone);

    await refused(client.files.retrieve(buffered.id), 404, 'a deleted file');
    await refused(client.files.content(buffered.id), 404,
                  'the content of a deleted file');

    return streamed;
}


async function whole(file) {
    const batch = await create(file, { metadata: { run: 'e2e', ä: 'ö' } });

    is(batch.object, 'batch', 'batches.create');
    is(batch.metadata?.['ä'], 'ö', 'metadata comes back');

    const done = await finished(batch.id);

    is(done.status, 'completed', 'the batch is completed');
    is(done.request_counts.total, 20, 'total');
    is(done.request_counts.completed, 20, 'completed');
    is(done.request_counts.failed, 0, 'failed');
    ok(!done.error_file_id, 'no error file without errors', done);
    ok(done.created_at <= done.in_progress_at
       && done.in_progress_at <= done.finalizing_at
       && done.finalizing_at <= done.completed_at, 'times in order', done);

    const text = await (await client.files.content(done.output_file_id))
        .text();
    const lines = text.trimEnd().split('\n').map((l) => JSON.parse(l));

    is(lines.length, 20, 'as many lines as asked');
    ok(lines.every((l, i) => l.custom_id === `line-${i + 1}`),
       'in the order of the input');
    ok(lines.every((l, i) => l.response.status_code === 200 && l.error === null
        && l.response.body.choices[0].message.content
           === `You said: Zeile № ${i + 1}`), 'each the answer to its own');

    const sum = lines.reduce((s, l) => s + l.response.body.usage.total_tokens,
                             0);
    is(done.usage?.total_tokens, sum, 'usage is the sum of the lines');

    const out = await client.files.retrieve(done.output_file_id);
    is(out.purpose, 'batch_output', 'purpose of the result');
    is(out.bytes, Buffer.byteLength(text), 'bytes of the result');
}


async function errors() {
    const file = await client.files.create({ purpose: 'batch',
        file: await toFile(Buffer.from(jsonl(4, 'status=400')), 'e.jsonl') });
    const done = await finished((await create(file)).id);

    is(done.status, 'completed', 'a batch of failing lines completes');
    is(done.request_counts.failed, 4, 'they count as failed');

    const text = await (await client.files.content(done.error_file_id)).text();
    const lines = text.trimEnd().split('\n').map((l) => JSON.parse(l));

    is(lines.length, 4, 'and are in the error file');
    ok(lines.every((l) => l.response?.status_code === 400),
       'with the status of the server', lines[0]);

    // OpenAI's own takes such a batch and fails it when it looks for the file
    const lost = await finished((await create({ id: 'file-none' })).id);
    is(lost.status, 'failed', 'a batch of an unknown file fails');
    ok(lost.errors?.data?.length > 0, 'and says why', lost);

    await refused(client.batches.retrieve('batch_none'), 404,
                  'an unknown batch');
    await refused(create(file, { endpoint: '/v1/nowhere' }), 400,
                  'a batch for an unknown endpoint');
}


// a file in parts: 5 at the same time, named in their order

async function uploads() {
    const data = Buffer.from(jsonl(200));
    const size = Math.ceil(data.length / 5);
    const upload = await client.uploads.create({ filename: 'parts.jsonl',
        purpose: 'batch', bytes: data.length, mime_type: 'text/jsonl' });

    is(upload.status, 'pending', 'uploads.create');

    const parts = await Promise.all([0, 1, 2, 3, 4].map(async (i) =>
        client.uploads.parts.create(upload.id, { data: await toFile(
            data.subarray(i * size, (i + 1) * size), `part-${i}`) })));

    ok(parts.every((p) => p.object === 'upload.part'
                          && p.upload_id === upload.id),
       'uploads.parts.create, five at once', parts);

    await refused(client.uploads.complete(upload.id,
        { part_ids: parts.slice(1).map((p) => p.id) }), 400,
        'to complete with a part missing');

    const done = await client.uploads.complete(upload.id,
        { part_ids: parts.map((p) => p.id) });

    is(done.status, 'completed', 'uploads.complete');
    is(await (await client.files.content(done.file.id)).text(),
       data.toString(), 'the file has the parts in their order');
    is((await finished((await create(done.file)).id)).status, 'completed',
       'and is good for a batch');

    const other = await client.uploads.create({ filename: 'x', bytes: 1,
        purpose: 'batch', mime_type: 'text/jsonl' });

    is((await client.uploads.cancel(other.id)).status, 'cancelled',
       'uploads.cancel');
    await refused(client.uploads.parts.create(other.id,
        { data: await toFile(Buffer.from('x'), 'x') }), 400,
        'a part of a cancelled upload');
}


// 150 MB, three parts of 64 MiB at the same time; this SDK has no helper for it

async function large() {
    const part = 64 * 1024 * 1024;
    const data = Buffer.alloc(150 * 1024 * 1024, 'x'.repeat(1023) + '\n');
    const md5 = (b) => crypto.createHash('md5').update(b).digest('hex');

    for (let at = 0, n = 0; at < data.length; at += 1024, n++) {
        data.write(`{"n":${n},"x":"`, at);
        data.write('"}', at + 1021);
    }

    const upload = await client.uploads.create({ filename: 'large.jsonl',
        purpose: 'batch', bytes: data.length, mime_type: 'text/jsonl' });
    const ids = await Promise.all([2, 0, 1].map(async (i) =>
        [i, (await client.uploads.parts.create(upload.id,
            { data: new File([data.subarray(i * part, (i + 1) * part)],
                             `part-${i}`) })).id]));
    const sent = ids.map(([, id]) => id);
    const ordered = ids.sort(([a], [b]) => a - b).map(([, id]) => id);

    await refused(client.uploads.complete(upload.id,
        { part_ids: sent, md5: md5(data) }), 400,
        'parts in another order than their MD5');

    const done = await client.uploads.complete(upload.id,
        { part_ids: ordered, md5: md5(data) });

    is(done.file.bytes, data.length, '150 MB in three parts at once');

    const back = await client.files.content(done.file.id);
    is(md5(Buffer.from(await back.arrayBuffer())), md5(data),
       'their content');
    await client.files.delete(done.file.id);
}


async function paging(file) {
    const made = [];

    for (let i = 0; i < 5; i++) made.push((await create(file)).id);

    const page = await client.batches.list({ limit: 2 });
    is(page.data.length, 2, 'a page has as many as asked');
    is(page.data[0].id, made[4], 'the newest first');
    ok(page.hasNextPage(), 'and there is a next one');

    const seen = [];
    for await (const b of client.batches.list({ limit: 2 })) seen.push(b.id);

    ok(made.every((id) => seen.includes(id)), 'all pages have all batches');
    is(new Set(seen).size, seen.length, 'none of them twice');

    for (const id of made) await finished(id);
}


async function cancel() {
    const file = await client.files.create({ purpose: 'batch',
        file: await toFile(Buffer.from(jsonl(300, 'slow=1000')), 'c.jsonl') });
    const batch = await create(file);
    const answer = await client.batches.cancel(batch.id);

    ok(['cancelling', 'cancelled'].includes(answer.status), 'batches.cancel',
       answer);

    const done = await finished(batch.id);

    is(done.status, 'cancelled', 'it is cancelled in the end');
    ok(done.cancelled_at >= done.cancelling_at, 'times of the cancellation',
       done);
    const c = done.request_counts;
    ok(c.completed + c.failed <= c.total, 'counts add up', c);

    await refused(client.batches.cancel((await finished((await create(
        await client.files.create({ purpose: 'batch',
            file: await toFile(Buffer.from(jsonl(1)), 'd.jsonl') }))).id)).id),
        409, 'to cancel a completed batch');
}


const came = [];

const receiver = http.createServer((request, answer) => {
    let body = '';

    request.setEncoding('utf8');
    request.on('data', (piece) => { body += piece; });
    request.on('end', () => {
        came.push({ body, headers: request.headers });
        answer.writeHead(204).end();
    });
}).listen(Number(port), '127.0.0.1');


async function webhook(id) {
    for (let i = 0; i < 600; i++) {
        for (const { body, headers } of came) {
            const event = await client.webhooks.unwrap(body, headers, secret);
            if (event.data.id === id) return { event, body, headers };
        }
        await new Promise((done) => setTimeout(done, 50));
    }
    throw new Error(`no webhook of ${id}`);
}


async function webhooks(file) {
    const batch = await finished((await create(file)).id);
    const { event, body, headers } = await webhook(batch.id);

    is(event.type, 'batch.completed', 'webhooks.unwrap');
    is(event.created_at, batch.completed_at, 'its time');

    try {
        ok(false, 'another body', await client.webhooks.unwrap(
            body.replace('completed', 'failed'), headers, secret));
    } catch (e) {
        ok(e instanceof OpenAI.InvalidWebhookSignatureError,
           'webhooks.unwrap: another body', String(e));
    }
}


try {
    const file = await files();
    await whole(file);
    await webhooks(file);
    await errors();
    await uploads();
    await large();
    await paging(file);
    await cancel();
} catch (e) {
    ok(false, `no exception: ${e?.stack ?? e}`);
}

receiver.close();
console.log(`1..${count}`);
process.exit(failed ? 1 : 0);
