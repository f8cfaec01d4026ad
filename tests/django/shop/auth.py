"""The same token behind another word, and in a header of its own."""

from rest_framework.authentication import TokenAuthentication


class BearerAuthentication(TokenAuthentication):
    keyword = "Bearer"


class HeaderAuthentication(TokenAuthentication):
    def authenticate(self, request):
        key = request.META.get("HTTP_X_API_KEY")
        return self.authenticate_credentials(key) if key else None
