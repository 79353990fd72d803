// An OpenID Connect provider for the tests: the certified oidc-provider with its development login, where every name and
// password is right. Prints its issuer, reads the address that it may send browsers back to, then prints `ready`.

import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import Provider from 'oidc-provider';

let handler = (_, response) => response.writeHead(503).end();
const server = createServer((request, response) => handler(request, response));

server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  process.stdout.write(`issuer ${issuer}\n`);
  const lines = createInterface({ input: process.stdin });
  lines.once('line', (redirectUri) => {
    handler = new Provider(issuer, configuration(redirectUri)).callback();
    process.stdout.write('ready\n');
  });
  // The test is gone.
  lines.once('close', () => process.exit(0));
});

function configuration(redirectUri) {
  return {
    clients: [{ client_id: 'hullworks', client_secret: 'secret of the client', redirect_uris: [redirectUri] }],
    cookies: { keys: ['a key for the cookies of a test'] },
    pkce: { required: () => true },
    scopes: ['openid', 'offline_access', 'groups'],
    claims: {
      openid: ['sub'],
      email: ['email', 'email_verified'],
      profile: ['name', 'preferred_username'],
      groups: ['groups'],
    },
    // People at this provider: `NAME` or `NAME+GROUP`.
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => {
        const [name, group] = id.split('+');
        return {
          sub: id,
          name: `${name} of the provider`,
          preferred_username: name,
          email: `${name}@example.com`,
          email_verified: true,
          groups: group ? [group] : [],
        };
      },
    }),
  };
}
