// Signs and sends requests with http-message-signatures, as its users do. Takes
// {url, alg, key} on stdin, prints {name: status} on stdout.
import { createHash, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { request } from 'node:http'
import { createSigner, httpbis } from 'http-message-signatures'

const { url, alg, key } = JSON.parse(readFileSync(0, 'utf8'))
const secret = alg === 'hmac-sha256' ? Buffer.from(key) : key
const signer = createSigner(secret, alg, 'client')

function sign(method, path, body, change = {}) {
	const headers = { 'X-Extra': 'a,  b' }
	const fields = ['@method', '@authority', '@path', '@query', 'x-extra']
	if (body !== undefined) {
		headers['Content-Type'] = 'application/json'
		headers['Content-Digest'] = `sha-512=:${createHash('sha512').update(body).digest('base64')}:`
		fields.push('content-digest')
	}
	return httpbis.signMessage({
		key: signer,
		fields,
		params: ['created', 'expires', 'keyid', 'alg', 'nonce'],
		paramValues: { nonce: randomBytes(16).toString('base64') },
		...change,
	}, { method, url: url + path, headers })
}

// The path goes on the wire as it was written, not as URL would write it.
function send(method, path, headers, body) {
	return new Promise((resolve, reject) => {
		const { hostname, port } = new URL(url)
		const r = request({ hostname, port, method, path, headers, timeout: 10_000 }, (answer) => {
			answer.resume()
			answer.on('end', () => resolve(answer.statusCode))
		})
		r.on('error', reject)
		r.on('timeout', () => r.destroy(new Error('timeout')))
		r.end(body)
	})
}

const results = {}
for (const path of ['/', '/v1/contacts?limit=1&limit=2', '/a%2Fb/%E2%82%AC%20c?q=%41+b&', '/~!$&\'()*+,;=:@']) {
	results[`GET ${path}`] = await send('GET', path, (await sign('GET', path)).headers)
}
const body = '{"hello": "wörld"}'
const post = await sign('POST', '/v1/contacts', body)
results.POST = await send('POST', '/v1/contacts', post.headers, body)
results['POST chunked'] = await send('POST', '/v1/contacts', { ...post.headers, 'Transfer-Encoding': 'chunked' }, body)
results['PUT empty'] = await send('PUT', '/v1', (await sign('PUT', '/v1', '')).headers, '')
const whole = { fields: ['@method', '@authority', '@target-uri', '@scheme'] }
results['@target-uri'] = await send('GET', '/v1?a=b', (await sign('GET', '/v1?a=b', undefined, whole)).headers)
const param = { fields: ['@method', '@authority', '@path', '@query', '@query-param;name="a"'] }
results['@query-param'] = await send('GET', '/v1?a=b%20c', (await sign('GET', '/v1?a=b%20c', undefined, param)).headers)

results['tampered body'] = await send('POST', '/v1/contacts', post.headers, body.replace('w', 'W'))
results['dropped body'] = await send('POST', '/v1/contacts', post.headers, '')
results['another path'] = await send('POST', '/v1/deals', post.headers, body)
results['another query'] = await send('POST', '/v1/contacts?x', post.headers, body)
results['another method'] = await send('PATCH', '/v1/contacts', post.headers, body)
results['another host'] = await send('POST', '/v1/contacts', { ...post.headers, Host: 'evil.example' }, body)
results['another field'] = await send('POST', '/v1/contacts', { ...post.headers, 'X-Extra': 'a, b' }, body)
const get = await sign('GET', '/v1/contacts')
results['added body'] = await send('POST', '/v1/contacts', get.headers, body)
const bare = { params: undefined }
results['the defaults have no nonce'] = await send('GET', '/v1', (await sign('GET', '/v1', undefined, bare)).headers)
const old = { paramValues: { nonce: 'n', created: new Date(Date.now() - 3_600_000), expires: new Date(Date.now() + 60_000) } }
results.old = await send('GET', '/v1', (await sign('GET', '/v1', undefined, old)).headers)
const late = { paramValues: { nonce: 'n', expires: new Date(Date.now() - 1_000), created: new Date(Date.now() - 10_000) } }
results.expired = await send('GET', '/v1', (await sign('GET', '/v1', undefined, late)).headers)
const { Signature, ...unsigned } = get.headers
results['no signature'] = await send('GET', '/v1/contacts', unsigned)
console.log(JSON.stringify(results))
