"""Answers lines {"document": …, "query": …} with lines true, false or {"error": "…"}, by montydb."""

import json
import sys
from datetime import datetime, timedelta

from montydb.engine.queries import QueryFilter


def revive(value):
    """{"$date": …} is an instant, and the type "number" is written out; all else is as JSON has it."""
    if list(value) == ["$date"]:
        when = value["$date"]
        if isinstance(when, str):
            return datetime.fromisoformat(when.replace("Z", "+00:00")).replace(tzinfo=None)
        return datetime(1970, 1, 1) + timedelta(milliseconds=when)
    if "$type" in value:
        types = value["$type"] if isinstance(value["$type"], list) else [value["$type"]]
        value["$type"] = [name for one in types for name in (["int", "long", "double"] if one == "number" else [one])]
    return value


def number(text):
    """JSON has one type of numbers: one that is an integer is one, however it is written."""
    value = float(text)
    return int(value) if value.is_integer() and -(2**63) <= value < 2**63 else value


# Generators that montydb leaves half-way complain when they are collected; that is no answer.
sys.unraisablehook = lambda _: None

for line in sys.stdin:
    try:
        case = json.loads(line, object_hook=revive, parse_float=number)
        answer = bool(QueryFilter(case["query"])(case["document"]))
    except Exception as error:  # an answer, too
        answer = {"error": f"{type(error).__name__}: {error}"}
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
