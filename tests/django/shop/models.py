"""Users, their files and their saved filters."""

from django.db import models


class Member(models.Model):
    username = models.CharField(max_length=150, unique=True)
    email = models.EmailField()
    balance = models.DecimalField(max_digits=30, decimal_places=12)
    points = models.BigIntegerField()
    score = models.FloatField()
    active = models.BooleanField()
    nickname = models.CharField(max_length=50, null=True)
    born = models.DateField(null=True)
    profile = models.JSONField()
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField(db_index=True)


class File(models.Model):
    member = models.ForeignKey(Member, on_delete=models.CASCADE)
    name = models.CharField(max_length=200)
    size = models.BigIntegerField()
    tag = models.UUIDField()
    note = models.TextField()
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField(db_index=True)


class Filter(models.Model):
    member = models.ForeignKey(Member, on_delete=models.CASCADE)
    name = models.CharField(max_length=100)
    definition = models.JSONField()
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField(db_index=True)


class Tombstone(models.Model):
    """A row that was deleted."""

    table = models.CharField(max_length=20)
    row = models.BigIntegerField()
    deleted_at = models.DateTimeField(auto_now_add=True, db_index=True)
