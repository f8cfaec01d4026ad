"""Tables of any shape that a test asks for while the application runs: sets as those of `models`, but of fields that the
test names."""

from django.db import connection, models
from rest_framework import serializers

MADE = {}


def model_of(name):
    return MADE.get(name)


def make(name, columns):
    """`columns` has the name of each field, the framework's class of it, its options, and whether it may not be null."""
    fields = {}
    for column in columns:
        options = dict(column["options"])
        if not options.get("primary_key"):
            options["null"] = not column["needed"]
        fields[column["name"]] = getattr(models, column["type"])(**options)
    meta = type("Meta", (), {"app_label": "shop", "db_table": name})
    made = type(name.title().replace("_", ""), (models.Model,), {**fields, "Meta": meta, "__module__": __name__})
    with connection.schema_editor() as editor:
        editor.create_model(made)
    MADE[name] = made


def serializer_of(model_class):
    """Takes texts as they come, blanks and all."""
    attributes = {}
    for field in model_class._meta.fields:
        needed = {"required": not field.null and not field.primary_key, "allow_null": field.null}
        if isinstance(field, (models.CharField, models.TextField)):
            attributes[field.name] = serializers.CharField(
                trim_whitespace=False, allow_blank=True, max_length=field.max_length, **needed
            )
        elif field.primary_key:
            # Its own uniqueness would be in the way of a row that is there.
            attributes[field.name] = serializers.IntegerField(required=False)
    meta = type("Meta", (), {"model": model_class, "fields": "__all__"})
    return type(f"{model_class.__name__}Serializer", (serializers.ModelSerializer,), {**attributes, "Meta": meta})
