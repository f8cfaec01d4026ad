"""/api/<way of paging>/<set>/ and what is done to it; /tables/<set>/ makes one."""

from django.urls import path

from .views import Bulk, Delete, Listing, Tables

urlpatterns = [
    path("tables/<str:name>/", Tables.as_view()),
    path("api/<str:way>/<str:name>/", Listing.as_view()),
    path("api/<str:way>/<str:name>/bulk/", Bulk.as_view()),
    path("api/<str:way>/<str:name>/delete/", Delete.as_view()),
]
