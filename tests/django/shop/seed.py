"""The same rows for every new database, nasty ones among them."""

import datetime
import decimal
import random
import uuid

from django.contrib.auth.models import User
from django.db import transaction
from rest_framework.authtoken.models import Token

from .models import File, Filter, Member

MEMBERS, FILES, FILTERS = 230, 310, 120
TEXTS = ["", " ", "näme", "\u4e2d\u6587 \U0001f600", 'quo"te\\', "line\nbreak\ttab", "'; DROP TABLE x; --", "\u200f\u0646\u0635"]


@transaction.atomic
def seed():
    admin, new = User.objects.get_or_create(username="admin", defaults={"is_staff": True})
    if new:
        admin.set_password("pass:word, with signs")
        admin.save()
        plain = User.objects.create_user("plain", password="plain")
        Token.objects.create(user=plain, key="0" * 40)
        rows(random.Random(4))
    return Token.objects.get_or_create(user=admin)[0].key


def rows(chance):
    start = datetime.datetime(2026, 11, 20, tzinfo=datetime.timezone.utc)

    def times(place):
        at = start + datetime.timedelta(seconds=place, microseconds=chance.randrange(1_000_000))
        return {"created_at": at - datetime.timedelta(days=place), "updated_at": at}

    def document(place):
        return {"b": [place, 2.5, None, {"ä": True}], "a": chance.choice(TEXTS), "n": 2**53 + place}

    # SQLite keeps 15 digits of a decimal.
    decimals = ["0", "-0.000000000001", "123456789012.345", "999999999999999", "0.1"]
    numbers = [0, -1, 2**53 + 1, 2**63 - 1, -(2**63)]
    floats = [0.0, 0.1, -1.5e-300, 1.7976931348623157e308, 3.0]
    dates = [None, datetime.date(1890, 1, 2), datetime.date(9999, 12, 31), datetime.date(2024, 2, 29)]
    Member.objects.bulk_create(
        Member(
            id=place,
            username=f"{chance.choice(TEXTS)}-{place}",
            email=f"user{place}@example.org",
            balance=decimal.Decimal(decimals[place % len(decimals)]),
            points=numbers[place % len(numbers)],
            score=floats[place % len(floats)],
            active=place % 2 == 0,
            nickname=None if place % 3 == 0 else chance.choice(TEXTS),
            born=dates[place % len(dates)],
            profile=document(place),
            **times(place),
        )
        for place in range(1, MEMBERS + 1)
    )
    File.objects.bulk_create(
        File(
            id=place * 3,
            member_id=chance.randint(1, MEMBERS),
            name=f"f{place}.csv",
            size=chance.randrange(2**62),
            tag=uuid.UUID(int=chance.getrandbits(128)),
            note=chance.choice(TEXTS) * place,
            **times(place),
        )
        for place in range(1, FILES + 1)
    )
    Filter.objects.bulk_create(
        Filter(
            id=place, member_id=chance.randint(1, MEMBERS), name=chance.choice(TEXTS), definition=document(place), **times(place)
        )
        for place in range(1, FILTERS + 1)
    )
