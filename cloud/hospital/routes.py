"""The slice's pages: departments and doctors, the schedule, the weekly timetable with holidays and release times."""

from __future__ import annotations

from fastapi import APIRouter

from cloud.hospital import day_off_routes, doctor_routes, photos, schedule_routes, timetable_routes

router = APIRouter(include_in_schema=False)
for each in (
    photos,
    doctor_routes,
    timetable_routes,
    day_off_routes,
    schedule_routes,
):  # named pages before "the session with this id"
    router.include_router(each.router)
