"""Request bodies that come packed by gzip, which Django leaves to the server in front of it."""

import gzip


class Unpack:
    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        if request.META.get("HTTP_CONTENT_ENCODING") == "gzip":
            request._body = gzip.decompress(request.read())
            request.META["CONTENT_LENGTH"] = str(len(request._body))
        return self.get_response(request)
