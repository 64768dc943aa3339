"""Makes the work pools and automations of deploy/ in the Prefect server that PREFECT_API_URL names, or brings those
that are there up to date; `sh deploy/setup.sh` runs it, with the pools' type."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import httpx
import yaml
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound

DEPLOY = Path(__file__).parent
POOLS = ("stepwave", "stepwave-gpu")
AUTOMATIONS = {"crashes.yaml": True, "drift.yaml": False}
"""Files in automations/, and whether theirs are made here; others are people's to make, and are kept up to date."""


async def pools(client: PrefectClient, kind: str) -> None:
    """Exits with 2, before any is changed, where one is of another type: a pool's type cannot be changed."""
    template = json.loads((DEPLOY / "pools" / f"{kind}.json").read_text())
    there = {}
    for name in POOLS:
        try:
            there[name] = (await client.read_work_pool(name)).type
        except ObjectNotFound:
            continue
        if there[name] != kind:
            print(
                f"setup: work pool {name} is of type {there[name]}, not {kind}: nothing was changed. If it may go with "
                f"what is queued in it, `prefect work-pool delete {name}`, then again",
                file=sys.stderr,
            )
            raise SystemExit(2)
    for name in POOLS:
        if name in there:
            await client.update_work_pool(name, WorkPoolUpdate(base_job_template=template))
        else:
            await client.create_work_pool(WorkPoolCreate(name=name, type=kind, base_job_template=template))
        print(f"work pool {name}: {'as its file' if name in there else 'made'}")


async def automations(client: PrefectClient) -> None:
    """One that is as its file says is not touched: it may be counting towards something."""
    for file, make in AUTOMATIONS.items():
        for values in yaml.safe_load((DEPLOY / "automations" / file).read_text())["automations"]:
            wanted = AutomationCore.model_validate(values)
            there = await client.read_automations_by_name(wanted.name)
            if make and not there:
                await client.create_automation(wanted)
                print(f"automation {wanted.name}: made")
            for one in there:
                same = AutomationCore.model_validate(one.model_dump(include=set(AutomationCore.model_fields))) == wanted
                if not same:
                    await client.update_automation(one.id, wanted)
                print(f"automation {wanted.name}: {'as its file' if same else 'changed to what its file says'}")


async def main(kind: str) -> None:
    async with get_client() as client:
        try:
            await pools(client, kind)
            await automations(client)
        except httpx.HTTPError as error:
            print(f"setup: the Prefect server at {client.api_url}: {str(error).splitlines()[0]}", file=sys.stderr)
            raise SystemExit(1) from None


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
