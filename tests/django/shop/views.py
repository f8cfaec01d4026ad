"""Lists by each of the framework's paginations, bulk upsert, deletion with tombstones."""

import re

from django.apps import apps
from django.core.exceptions import ObjectDoesNotExist
from django.db import IntegrityError, transaction
from django.utils.dateparse import parse_datetime
from rest_framework import generics, pagination, serializers, views
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.response import Response

from . import tables
from .models import Tombstone

SETS = {"members": "Member", "files": "File", "filters": "Filter"}


def model_of(name):
    if name in SETS:
        return apps.get_model("shop", SETS[name])
    made = tables.model_of(name)
    if made is None:
        raise NotFound()
    return made


def serializer_of(model_class):
    if model_class in tables.MADE.values():
        return tables.serializer_of(model_class)
    attributes = {}
    if any(field.name == "balance" for field in model_class._meta.fields):
        # All digits that the column keeps.
        attributes["balance"] = serializers.DecimalField(max_digits=30, decimal_places=12)
    attributes["id"] = serializers.IntegerField(required=False)
    if any(field.name == "member" for field in model_class._meta.fields):
        attributes["member_id"] = serializers.IntegerField()
    meta = type("Meta", (), {"model": model_class, "exclude": ["member"] if "member_id" in attributes else []})
    return type(f"{model_class.__name__}Serializer", (serializers.ModelSerializer,), {**attributes, "Meta": meta})


class Numbered(pagination.PageNumberPagination):
    page_size = 25
    page_size_query_param = "page_size"
    max_page_size = 200

    def get_paginated_response(self, data):
        return with_tombstones(self.request, super().get_paginated_response(data))


class FixedNumbered(pagination.PageNumberPagination):
    """As the framework has it: one size, whatever is asked for."""

    page_size = 7


class Offset(pagination.LimitOffsetPagination):
    default_limit = 25
    max_limit = 200


class Cursor(pagination.CursorPagination):
    """As the framework has it, but in the order of the keys."""

    page_size = 20
    page_size_query_param = "page_size"
    ordering = "id"


class Linked(Cursor):
    """Rows alone; the next page stands in the header."""

    def get_paginated_response(self, data):
        links = [("next", self.get_next_link()), ("prev", self.get_previous_link())]
        header = ", ".join(f'<{url}>; rel="{name}"' for name, url in links if url)
        return Response(data, headers={"Link": header} if header else None)


PAGINATIONS = {
    "numbered": Numbered,
    "fixed": FixedNumbered,
    "offset": Offset,
    "cursor": Cursor,
    "linked": Linked,
    "plain": None,
}


def with_tombstones(request, response):
    since = request.query_params.get("updated_since")
    if since:
        gone = Tombstone.objects.filter(table=request.parser_context["kwargs"]["name"], deleted_at__gte=since)
        response.data["deleted"] = list(gone.values_list("row", flat=True))
    return response


class Listing(generics.ListAPIView):
    @property
    def pagination_class(self):
        if self.kwargs["way"] not in PAGINATIONS:
            raise NotFound()
        return PAGINATIONS[self.kwargs["way"]]

    def get_serializer_class(self):
        return serializer_of(model_of(self.kwargs["name"]))

    def get_queryset(self):
        rows = model_of(self.kwargs["name"]).objects.order_by("id")
        since, ids = (self.request.query_params.get(name) for name in ("updated_since", "ids"))
        if since:
            at = parse_datetime(since)
            if at is None:
                raise ValidationError("updated_since is a time")
            rows = rows.filter(updated_at__gte=at)
        if ids:
            rows = rows.filter(id__in=keys_of(rows.model, ids.split(",")))
        return rows


def keys_of(model_class, texts):
    """Those of these texts that a row's key can be."""
    key = model_class._meta.pk
    if key.get_internal_type() == "CharField":
        return texts
    return [int(text) for text in texts if re.fullmatch("-?[0-9]{1,18}", text)]


class Tables(views.APIView):
    """Makes a table."""

    def post(self, request, name):
        tables.make(name, request.data["columns"])
        return Response({})


class Bulk(views.APIView):
    """Upserts each record by its id; a record that is refused does not hurt the others."""

    def post(self, request, way, name):
        model_class = model_of(name)
        serializer_class = serializer_of(model_class)
        with transaction.atomic():
            results = [self.upsert(model_class, serializer_class, record) for record in request.data["records"]]
        return Response({"results": results})

    def upsert(self, model_class, serializer_class, record):
        key = record.get("id")
        try:
            there = model_class.objects.filter(pk=key).first()
            serializer = serializer_class(there, data=record, partial=there is not None)
            if not serializer.is_valid():
                return {"key": key, "status": "rejected", "error": serializer.errors}
            with transaction.atomic():
                serializer.save()
                if "member_id" in record:
                    # Said at once, not when the whole transaction ends.
                    model_class._meta.get_field("member").related_model.objects.get(pk=record["member_id"])
        except (IntegrityError, ObjectDoesNotExist, OverflowError, ValueError) as error:
            return {"key": key, "status": "rejected", "error": str(error)}
        return {"key": key, "status": "updated" if there else "created"}


class Delete(views.APIView):
    def post(self, request, way, name):
        model_class = model_of(name)
        with transaction.atomic():
            rows = list(model_class.objects.filter(pk__in=request.data["keys"]).values_list("pk", flat=True))
            model_class.objects.filter(pk__in=rows).delete()
            Tombstone.objects.bulk_create(Tombstone(table=name, row=row) for row in rows if isinstance(row, int))
        return Response({"deleted": len(rows)})
