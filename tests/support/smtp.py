"""A mail server for the tests: takes mail on a free port of this machine and prints each message as one line of JSON.

An address that begins with `refused` is refused for good, one that begins with `later` is put off the first time.
"""

import asyncio
import json
import sys
from email import message_from_bytes
from email.policy import default

from aiosmtpd.smtp import SMTP


def say(what):
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


class Handler:
    def __init__(self):
        self.put_off = set()

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("refused"):
            return "550 no such person here"
        if address.startswith("later") and address not in self.put_off:
            self.put_off.add(address)
            say({"put_off": address})
            return "451 come back later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        message = message_from_bytes(envelope.content, policy=default)
        say(
            {
                "to": envelope.rcpt_tos,
                "headers": {name.lower(): str(value) for name, value in message.items()},
                "text": message.get_content(),
            }
        )
        return "250 taken"


async def main():
    handler = Handler()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(handler), "127.0.0.1", 0)
    say({"port": server.sockets[0].getsockname()[1]})
    # The test is gone when its end of the pipe is.
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())
