"""A legacy application as it stands in the world: Django, Django REST framework, SQLite.

    python serve.py DATABASE      seeds DATABASE if it is new, then serves it; prints "PORT TOKEN" once it listens

The tests start it on a free port of loopback and end it by its process id. Nothing in here knows of cutover.
"""

import os
import socketserver
import sys


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "shop.settings"
    os.environ["SHOP_DATABASE"] = sys.argv[1]
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

    import django

    django.setup()
    from django.core.management import call_command
    from django.core.servers.basehttp import WSGIRequestHandler, WSGIServer
    from django.core.wsgi import get_wsgi_application

    class Server(socketserver.ThreadingMixIn, WSGIServer):
        daemon_threads = True
        request_queue_size = 64

    class Handler(WSGIRequestHandler):
        def log_message(self, *_):
            pass

    call_command("migrate", run_syncdb=True, verbosity=0)
    from shop.seed import seed

    token = seed()
    server = Server(("127.0.0.1", 0), Handler)
    server.set_app(get_wsgi_application())
    print(server.server_address[1], token, flush=True)
    server.serve_forever()


main()
