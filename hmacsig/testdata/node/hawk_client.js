// Calls a server with the reference's client and prints what came back, one JSON
// object per line. Arguments on standard input: {"url", "id", "key"}.
'use strict';

const Hawk = require('hawk');
const Http = require('http');

const input = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const credentials = { id: input.id, key: input.key, algorithm: 'sha256' };
const base = new URL(input.url);

// Node's URL drops what Hawk signs, so the path goes to http.request as it is.
const send = (method, path, headers, body) => new Promise((resolve, reject) => {

    const req = Http.request({ host: base.hostname, port: base.port, method, path, headers, timeout: 10000 }, (res) => {

        const chunks = [];
        res.on('data', (chunk) => chunks.push(chunk));
        res.on('end', () => resolve({ res, body: Buffer.concat(chunks).toString() }));
        res.on('error', reject);
    });
    req.on('timeout', () => req.destroy(new Error('timeout')));
    req.on('error', reject);
    req.end(body);
});

const call = async (name, { method = 'GET', path = '/', sent, ...options } = {}) => {

    const { header, artifacts } = Hawk.client.header(input.url + path, method, { credentials, ...options });
    const headers = { authorization: header };
    if (options.contentType) {
        headers['content-type'] = options.contentType;
    }

    const answer = await send(method, path, headers, sent === undefined ? options.payload : sent);
    report(name, answer, options.credentials || credentials, artifacts);
    return { ...answer, headers, artifacts };
};

const report = (name, { res, body }, keys, artifacts) => {

    const line = { name, status: res.statusCode, body, challenge: res.headers['www-authenticate'] || '' };
    try {
        const required = res.statusCode === 200;
        const said = Hawk.client.authenticate(res, keys, artifacts, required ? { required, payload: body } : {});
        line.verified = Object.keys(said.headers);
    }
    catch (err) {
        line.error = err.message;
    }

    console.log(JSON.stringify(line));
};

const main = async () => {

    await call('get');
    await call('encoded', { path: '/a%2Fb/%E2%82%AC;v=1/../c?q=%C3%BC+x&q=1&&z=' });
    await call('empty query', { path: '/a?' });
    await call('ext', { ext: 'org=5b7f0a1c, "no"'.replace(/"/g, '\'') });
    await call('app', { app: 'hf48hd83qwkj', dlg: 'd8djwekds9cj' });
    await call('fraction', { timestamp: Date.now() / 1000 });

    const json = { method: 'POST', path: '/p', payload: '{"a":"\u20ac"}', contentType: 'Application/JSON; charset=utf-8' };
    await call('post', json);
    await call('post of nothing', { ...json, payload: '' });
    await call('delete', { method: 'DELETE', path: '/p/1' });
    await call('tampered', { ...json, sent: '{"a":"\u20ad"}' });
    await call('body that was not signed', { method: 'POST', path: '/p', sent: 'x' });

    const once = await call('once', json);
    const again = await send('POST', json.path, once.headers, json.payload);
    report('again', again, credentials, once.artifacts);

    const stale = await call('stale', { ...json, localtimeOffsetMsec: -3600 * 1000 });
    const said = Hawk.client.authenticate(stale.res, credentials, stale.artifacts).headers['www-authenticate'];
    await call('repaired', { ...json, localtimeOffsetMsec: said.ts * 1000 - Date.now() });

    await call('wrong key', { credentials: { ...credentials, key: 'a wrong key, but long' } });
    await call('unknown id', { credentials: { ...credentials, id: 'nobody' } });
    report('anonymous', await send('GET', '/', {}), credentials, {});

    const share = '/share?a=1';
    const bewit = Hawk.client.getBewit(input.url + share, { credentials, ttlSec: 60, ext: 'x' });
    const shared = await send('GET', share + '&bewit=' + bewit, {});
    console.log(JSON.stringify({ name: 'bewit', status: shared.res.statusCode, body: shared.body }));
    const longer = Hawk.client.getBewit(input.url + share, { credentials, ttlSec: 3600 });
    const refused = await send('GET', share + '&bewit=' + longer, {});
    console.log(JSON.stringify({ name: 'bewit for too long', status: refused.res.statusCode }));
};

main().catch((err) => {

    console.error(err);
    process.exit(1);
});
