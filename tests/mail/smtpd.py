"""A real SMTP server on loopback, told by its arguments what it is to be.

Says `port N` when it listens, then one line of JSON for each mail that it takes.
"""

import argparse
import asyncio
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

options = argparse.ArgumentParser()
options.add_argument("--cert")
options.add_argument("--key")
options.add_argument("--implicit", action="store_true", help="TLS before the first word")
options.add_argument("--user")
options.add_argument("--password")
options.add_argument("--defer", type=int, default=0, help="how many mails to put off at first")
options.add_argument("--refuse", default="", help="an address that gets no mail")
options = options.parse_args()


class Handler:
    def __init__(self):
        self.deferred = 0

    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
        if address == options.refuse:
            return "550 5.1.1 there is no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        if self.deferred < options.defer:
            self.deferred += 1
            print(json.dumps({"deferred": self.deferred}), flush=True)
            return "451 4.3.0 come back later"
        mail = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "text": envelope.content.decode(),
            "tls": session.ssl is not None or options.implicit,
            "authenticated": session.authenticated,
        }
        print(json.dumps(mail), flush=True)
        return "250 OK"


def authenticate(server, session, envelope, mechanism, data):
    right = data.login.decode() == options.user and data.password.decode() == options.password
    return AuthResult(success=right, handled=False)


async def main():
    context = None
    if options.cert:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(options.cert, options.key)
    handler = Handler()

    def conversation():
        return SMTP(
            handler,
            hostname="mail.example.org",
            tls_context=None if options.implicit else context,
            require_starttls=bool(context) and not options.implicit,
            authenticator=authenticate if options.user else None,
            auth_required=bool(options.user),
            auth_require_tls=bool(context) and not options.implicit,
        )

    loop = asyncio.get_running_loop()
    server = await loop.create_server(conversation, "127.0.0.1", 0, ssl=context if options.implicit else None)
    print("port", server.sockets[0].getsockname()[1], flush=True)
    # Whoever started it ends it by closing its input.
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())
