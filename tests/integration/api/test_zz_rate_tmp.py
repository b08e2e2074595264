import asyncio
import multiprocessing
import time
from dataclasses import replace

import httpx

from tests.integration.api.conftest import *
from tests.integration.api.serving import KEY, serve
from tests.integration.conftest import *


def hammer(url, key, seconds, paths, out):
    async def go():
        n=0; end=time.monotonic()+seconds
        async with httpx.AsyncClient(headers={"Authorization":f"Bearer {key}"}, verify=False) as c:
            async def one(i):
                nonlocal n
                while time.monotonic()<end:
                    r=await c.get(url+paths[n%len(paths)]); assert r.status_code==200,r.text; n+=1
            await asyncio.gather(*(one(i) for i in range(8)))
        out.put(n)
    asyncio.run(go())
async def test_x(served, database):
    s=served.services.settings.model_copy(update={"rate_limit":1e6})
    async with serve(replace(served.services, settings=s)) as api:
        k=(await api.post("api-keys/",{"name":"x","scopes":["read"]})).json()["key"]
        w=await api.workflow(); ids=await api.executions(w,60)
        for label,key in (("startup",KEY),("stored",k)):
            for paths in (["health/live/"],["executions/?page_size=1"],["executions/","workflows/",f"executions/{ids[0]}/"]):
                ctx=multiprocessing.get_context("spawn"); q=ctx.Queue()
                t=time.process_time()
                p=ctx.Process(target=hammer,args=(api.url,key,4,paths,q)); p.start()
                n=await asyncio.to_thread(q.get); p.join()
                print(label,paths,n/4,"req/s", 1000*(time.process_time()-t)/n,"ms CPU each")
