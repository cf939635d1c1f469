#!/usr/bin/python3
"""What a user would write today: aiohttp and a semaphore.

asyncio_client.py URL INPUT.jsonl OUTPUT.jsonl CONCURRENCY
"""

import asyncio
import json
import sys

import aiohttp


async def one(session, limit, url, line, out):
    request = json.loads(line)

    async with limit:
        async with session.post(url, json=request['body']) as r:
            answer = {'custom_id': request['custom_id'],
                      'response': {'status_code': r.status,
                                   'body': await r.json()}}

    out.write(json.dumps(answer) + '\n')
    return answer['response']['status_code'] == 200


async def main(url, source, target, concurrency):
    limit = asyncio.Semaphore(concurrency)
    connector = aiohttp.TCPConnector(limit=concurrency)

    with open(source) as f, open(target, 'w') as out:
        async with aiohttp.ClientSession(connector=connector) as session:
            done = await asyncio.gather(
                *(one(session, limit, url, line, out) for line in f))

    print(sum(done))


asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
