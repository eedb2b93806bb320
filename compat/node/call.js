'use strict';

// Speaks for the vendor's Node clients: one JSON call a line on stdin, one JSON
// answer a line on stdout, in order. A call is
//   {client, method, endpoint, ca, key: {id, secret, token}, action, params}
// and an answer what the client gave its caller: {status, headers, body}, or,
// when it threw, {error: {type, code, status, message, requestId}}.

const https = require('https');
const readline = require('readline');
const PopCore = require('@alicloud/pop-core');
const OpenApi = require('@alicloud/openapi-client');
const Util = require('@alicloud/openapi-util');
const { RuntimeOptions } = require('@alicloud/tea-util');

const version = '2020-04-20';

async function popCore({ endpoint, ca, key, method, action, params }) {
  const client = new PopCore.RPCClient({
    endpoint: `${ca ? 'https' : 'http'}://${endpoint}`,
    apiVersion: version,
    accessKeyId: key.id,
    accessKeySecret: key.secret,
    securityToken: key.token,
  }, true);
  // Parameters and actions as given: by default it would write a capital first.
  const options = { method, formatParams: false, formatAction: false };
  if (ca) {
    options.agent = new https.Agent({ ca });
  }
  const [body, { response }] = await client.request(action, params, options);
  return { status: response.statusCode, headers: response.headers, body };
}

function popCoreError(e) {
  return {
    type: e.name,
    code: e.code,
    status: e.entry && e.entry.response.statusCode,
    message: e.message,
    requestId: e.data && e.data.RequestId,
  };
}

async function openApi({ endpoint, ca, key, method, action, params }) {
  const client = new OpenApi.default(new OpenApi.Config({
    endpoint,
    protocol: ca ? 'https' : 'http',
    ca: ca || undefined,
    accessKeyId: key.id,
    accessKeySecret: key.secret,
    securityToken: key.token,
  }));
  // What the vendor's generated clients say of each operation of this API.
  const operation = new OpenApi.Params({
    action,
    version,
    protocol: 'HTTP',
    pathname: '/',
    method,
    authType: 'AK',
    style: 'RPC',
    reqBodyType: 'formData',
    bodyType: 'json',
  });
  // query flattens lists, as in the generated clients.
  const request = new OpenApi.OpenApiRequest({ query: Util.default.query(params) });
  const { statusCode, headers, body } = await client.callApi(operation, request, new RuntimeOptions({}));
  return { status: statusCode, headers, body };
}

function openApiError(e) {
  return {
    type: e.name,
    code: e.code,
    status: e.statusCode,
    message: e.message,
    requestId: e.data && e.data.RequestId,
  };
}

const clients = {
  'pop-core': { call: popCore, error: popCoreError },
  'openapi-client': { call: openApi, error: openApiError },
};

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const call = JSON.parse(line);
    const client = clients[call.client];
    let answer;
    try {
      answer = await client.call(call);
    } catch (e) {
      answer = { error: client.error(e) };
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
}

// pop-core keeps its connections alive, which would keep the process.
main().then(() => process.exit(0));
