# A real SMTP server (aiosmtpd) for the tests: prints its port, then each mail as a line of JSON.
# Arguments: mode (starttls, tls, plain), certificate, key.
import asyncio, json, ssl, sys
from aiosmtpd.smtp import SMTP, AuthResult

mode, cert, key = sys.argv[1:4]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(cert, key)
busy = {"left": 1}


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody@"):
            return "550 5.1.1 no such user " + address
        if address.startswith("busy@") and busy["left"]:
            busy["left"] -= 1
            return "451 4.7.1 greylisted " + address
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        print(json.dumps({
            "from": envelope.mail_from, "to": envelope.rcpt_tos, "helo": session.host_name,
            "auth": bool(session.authenticated), "tls": session.ssl is not None or mode == "tls",
            "data": envelope.content.decode("utf-8", "replace")}), flush=True)
        return "250 OK"


def check(server, session, envelope, mechanism, data):
    good = data.login == b"ward" and data.password == b"mail-password-1"
    return AuthResult(success=good)


async def main():
    def factory():
        if mode == "plain":
            return SMTP(Handler())
        if mode == "tls":
            return SMTP(Handler(), authenticator=check, auth_required=True, auth_require_tls=False)
        return SMTP(Handler(), tls_context=context, require_starttls=True, authenticator=check, auth_required=True)
    server = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0, ssl=context if mode == "tls" else None)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
